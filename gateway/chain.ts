import { bytesMaxOf, decodeRecord, encodeRecord, type AuditRecord } from '../audit/record.ts'
import type { JobId } from '../policy/job-id.ts'
import type { Bus } from './bus/bus.ts'
import { BusError } from './bus/message.ts'
import { createNewest } from './newest.ts'
import { auditSubject } from './subjects.ts'

/** A record and the place it has in AUDIT. */
export type Position = { readonly record: AuditRecord; readonly sequence: number }

/** A job's own chain of records: read the newest, append the next one if nobody else did. */
export type Chain = {
  /** The newest record this gateway knows of without asking; may be behind, the compare-and-set finds out. */
  remembered(job: JobId): Position | undefined
  last(job: JobId): Promise<Position | undefined>
  /** `leaveByMs`: what lets a job go on must leave the process by then, or not at all. */
  append(
    record: AuditRecord,
    expect: number,
    leaveByMs?: number,
  ): Promise<Position | 'conflict' | 'too-large'>
}

/** Bytes of JSON: a record is as large as an agent wants it to be, and many of its jobs may be open. */
const remembered = { countMax: 20_000, bytesMax: 64 * 1024 * 1024 }

/** `onAppended` hears every record this gateway wrote. Throws `BusError` when AUDIT refuses or the outcome is unknown: then nothing may happen, the cause comes again. */
export function createChain(bus: Bus, onAppended: (at: Position) => void): Chain {
  // An append needs the last sequence; keeping what we wrote saves a read for nearly every result.
  const memory = createNewest<Position>(remembered)
  const remember = (position: Position, bytes: number): void => {
    const { job_id, terminal } = position.record.data
    if (terminal === undefined) memory.put(job_id, position, bytes)
    else memory.drop(job_id)
  }
  return {
    remembered: (job) => memory.get(job),
    last: async (job) => {
      const stored = await bus.last('AUDIT', auditSubject(job))
      if (stored === undefined) return undefined
      const position = { record: decodeRecord(stored.body), sequence: stored.sequence }
      remember(position, stored.body.length)
      return position
    },
    append: async (record, expect, leaveByMs) => {
      const body = encodeRecord(record)
      const bytes = Buffer.byteLength(body)
      if (bytes > bytesMaxOf(record)) return 'too-large'
      const appended = await bus.append(auditSubject(record.data.job_id), body, { expect, leaveByMs })
      switch (appended.type) {
        case 'stored': {
          const position = { record, sequence: appended.sequence }
          remember(position, bytes)
          onAppended(position)
          return position
        }
        case 'conflict':
          memory.drop(record.data.job_id)
          return 'conflict'
        case 'refused':
          throw new BusError(`AUDIT refused a record: ${appended.detail}`)
      }
    },
  }
}
