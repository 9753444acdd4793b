import { setTimeout as sleep } from 'node:timers/promises'
import { decodeRecord, type AuditRecord } from '../../audit/record.ts'
import type { JobId } from '../../policy/job-id.ts'
import type { Bus } from '../bus/bus.ts'
import type { Stored } from '../bus/message.ts'
import type { Position } from '../chain.ts'
import { auditSubject } from '../subjects.ts'

const inFlightMax = 64
const triesMax = 4
const tryAgainMs = 50

/** The stored messages at these sequences, in their order; what is not there any more is left out. */
export async function readMany(bus: Bus, stream: string, sequences: readonly number[]): Promise<Stored[]> {
  const found: Stored[] = []
  for (let start = 0; start < sequences.length; start += inFlightMax) {
    const window = sequences.slice(start, start + inFlightMax)
    const messages = await Promise.all(window.map((sequence) => read(bus, stream, sequence)))
    for (const message of messages) if (message !== undefined) found.push(message)
  }
  return found
}

/** A job's newest record, past the chain's memory: that is for jobs in work, and a long list would push them out. */
export async function newestRecord(bus: Bus, job: JobId): Promise<AuditRecord | undefined> {
  return (await newestPosition(bus, job))?.record
}

/** The same with its place in AUDIT. */
export async function newestPosition(bus: Bus, job: JobId): Promise<Position | undefined> {
  const stored = await bus.last('AUDIT', auditSubject(job))
  return stored === undefined ? undefined : { record: decodeRecord(stored.body), sequence: stored.sequence }
}

/** A replica that is a moment behind says that a message is not there; asked again it has it. */
async function read(bus: Bus, stream: string, sequence: number): Promise<Stored | undefined> {
  for (let tries = 1; ; tries++) {
    const message = await bus.get(stream, sequence)
    if (message !== undefined || tries === triesMax) return message
    await sleep(tryAgainMs)
  }
}
