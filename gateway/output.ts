import type { JobEvent } from '../audit/event.ts'
import type { RecordData } from '../audit/record.ts'
import type { Position } from './chain.ts'
import type { Io } from './io.ts'
import type { Around } from './cause.ts'
import { outputHash, saltOf } from './salt.ts'
import { auditControlSubject, outputSubject, quarantineSubject } from './subjects.ts'

/**
 * Whether the output that the newest record speaks of goes to the agent. What a worker says about its failure helps the agent; it
 * is scanned like any other output.
 */
export function isReleased({ state, limit, result }: RecordData): boolean {
  if (state.to === 'SUCCEEDED') return true
  return state.to === 'FAILED' && limit === 'error' && result?.action !== 'quarantine'
}

/** Gives the scanned output to the agent, if it is the one that the record speaks of. */
export async function release(io: Io, at: Position, around: Around): Promise<JobEvent | undefined> {
  const { data } = at.record
  const output = around.output
  if (output === undefined || data.result === undefined) return undefined
  if (outputHash(saltOf(io.keys, data), output.released) !== data.result.output_hash) {
    await alarm(io, at)
    return quarantine(io, at, around)
  }
  await stored(io, outputSubject(data.actor.id, data.job_id), output.released, {
    'Sluice-Job': data.job_id,
    'Sluice-State': data.state.to,
    'Sluice-Trace': data.trace_id,
    'Sluice-Findings': JSON.stringify(data.result.findings),
  })
  return undefined
}

/**
 * Keeps what must not flow where only security staff reads it. Without room the job ends here and its output is gone: an agent
 * can have outputs kept back at will, and the results of others must not stand behind them.
 */
export async function quarantine(io: Io, at: Position, around: Around): Promise<JobEvent | undefined> {
  if (around.output === undefined) return undefined
  const { data } = at.record
  const headers = {
    'Sluice-Job': data.job_id,
    'Sluice-Findings': JSON.stringify(data.result?.findings ?? []),
    // The output waits for a person, and is its own timer.
    'Sluice-Expires': data.quarantine?.expires_at ?? at.record.time,
  }
  const appended = await io.bus.append(quarantineSubject(data.job_id), around.output.raw, {
    headers,
    // Whoever does this again finds it done.
    expect: 0,
  })
  return appended.type === 'refused' ? { event: 'expired', limit: 'quarantine-full' } : undefined
}

/** A redelivered result whose scan differs from the record: somebody changed detectors or bytes, and a person must look. */
async function alarm(io: Io, at: Position): Promise<void> {
  io.log.error({ jobId: at.record.data.job_id }, 'output differs from its record')
  await io.bus.append(
    auditControlSubject,
    JSON.stringify({
      type: 'sluice.output.differs.v1',
      time: new Date(io.nowMs()).toISOString(),
      record: at.record.id,
    }),
    { messageId: `differs.${at.record.id}` },
  )
}

async function stored(
  io: Io,
  subject: string,
  body: Uint8Array,
  headers: Record<string, string>,
): Promise<void> {
  const appended = await io.bus.append(subject, body, { headers })
  if (appended.type !== 'stored') throw new Error(`${subject.split('.')[0]} refused an output`)
}
