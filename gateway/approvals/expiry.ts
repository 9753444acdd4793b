import type { RecordData } from '../../audit/record.ts'
import type { Io } from '../io.ts'
import type { Proposal } from '../step.ts'
import { stopOf, thawedMs } from '../stops/stopped.ts'

/** A stop freezes what waits; whether it still holds is asked this often. */
const stoppedRetryMs = 1_000

/**
 * What waits for a person ends when its time is over, and keeps what remained of it while a stop held it. `limit` is the word
 * for it on the record.
 */
export async function expiry(
  io: Io,
  data: RecordData,
  fromIso: string,
  untilIso: string,
  limit: 'approval' | 'quarantine',
): Promise<Proposal> {
  const frozen = await whileStopped(io, data)
  if (frozen !== undefined) return frozen
  const expiresMs = thawedMs(io, data, fromIso, untilIso)
  return expiresMs > io.nowMs() ? notYet(expiresMs, io.nowMs()) : { event: 'expired', limit }
}

/** To be asked again later, if a stop holds the job. */
export async function whileStopped(io: Io, data: RecordData): Promise<Proposal | undefined> {
  const stop = await stopOf(io, data, false)
  return stop === undefined ? undefined : notYet(io.nowMs() + stoppedRetryMs, io.nowMs())
}

export const notYet = (untilMs: number, nowMs: number): Proposal => ({
  refuse: 'not-yet',
  detail: String(Math.max(1, Math.ceil(untilMs - nowMs))),
})
