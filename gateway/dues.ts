import type { RecordData } from '../audit/record.ts'
import { parseJob } from '../policy/job.ts'
import { beforeParking } from './asking.ts'
import type { Position } from './chain.ts'
import { afterFailure, hasUnreadResult } from './collect.ts'
import { decide, deny, type Before } from './decide.ts'
import { expiry, notYet, whileStopped } from './approvals/expiry.ts'
import type { Io } from './io.ts'
import { placeRetryMs, placeWaitMs } from './place.ts'
import type { Proposal } from './step.ts'
import { stopOf } from './stops/stopped.ts'

/** A worker's result that nobody has read yet is looked for again after this. */
const retryMs = 1_000

/** The time to look at an output that was kept back is over. */
export function quarantineDue(io: Io, _subject: string, { record }: Position): Proposal | Promise<Proposal> {
  const { data, time } = record
  if (data.state.to !== 'QUARANTINED') return { refuse: 'moved-on' }
  return expiry(io, data, time, data.quarantine?.expires_at ?? time, 'quarantine')
}

/** The wait is over: the job runs in the slot that was kept for it, or ends because there was none within `max_wait`. */
export async function throttleDue(
  io: Io,
  subject: string,
  { record: { data } }: Position,
): Promise<Proposal> {
  if (data.state.to !== 'THROTTLED' || data.throttle === undefined) return { refuse: 'moved-on' }
  const notBeforeMs = Date.parse(data.throttle.not_before)
  if (notBeforeMs > io.nowMs()) return notYet(notBeforeMs, io.nowMs())
  // A stop freezes what waits; the slot that passes meanwhile is not given to anybody else.
  const frozen = await whileStopped(io, data)
  if (frozen !== undefined) return frozen
  if (!data.throttle.reserved)
    return { event: 'expired', limit: data.resolution === undefined ? 'max_wait' : 'use_within' }
  if (data.job_deadline !== undefined && Date.parse(data.job_deadline) <= io.nowMs())
    return { event: 'expired', limit: 'deadline' }
  const copy = await io.bus.last('THROTTLED', subject)
  if (copy === undefined) return { refuse: 'moved-on' }
  const parsed = parseJob({ tenant: data.tenant, agent: data.actor.id }, data.topic, copy.body)
  if (!parsed.ok) return deny(io, parsed.refusal.ruleId, parsed.refusal.reason)
  const event = await decide(io, data, parsed.job, inTime(io, data, notBeforeMs))
  if (event.event === 'parked') return beforeParking(io, data, copy.body, event)
  const stillFull = event.event === 'throttled' && event.throttle.waits_for === 'place'
  if (!stillFull || data.throttle.waits_for !== 'place') return event
  // The wait for a place is on record; only its end is news.
  if (io.nowMs() - Date.parse(data.received_at) > placeWaitMs)
    return { event: 'expired', limit: 'max_concurrency' }
  return notYet(io.nowMs() + placeRetryMs, io.nowMs())
}

/** A slot that was missed by so much is gone: all that an outage held up would start at once. */
const slotLateMs = 1_000

/** What was granted before counts while the slot is young; later the job asks every limit again, behind those who wait. */
function inTime(io: Io, data: RecordData, notBeforeMs: number): Before {
  if (data.throttle?.waits_for === 'place' || io.nowMs() - notBeforeMs < slotLateMs) return data
  return data.facts === undefined ? data : { ...data, facts: { ...data.facts, granted: [] } }
}

/** An attempt's deadline has come, and no result. */
export async function attemptDue(io: Io, subject: string, { record: { data } }: Position): Promise<Proposal> {
  const attempt = Number(subject.split('.').at(-1))
  if (data.state.to !== 'DISPATCHED' || data.dispatch?.attempt !== attempt) return { refuse: 'moved-on' }
  if (Date.parse(data.dispatch.deadline) > io.nowMs())
    return notYet(Date.parse(data.dispatch.deadline), io.nowMs())
  if (await hasUnreadResult(io, data)) return notYet(io.nowMs() + retryMs, io.nowMs())
  const stop = await stopOf(io, data, false)
  // The attempt is over either way; another one would be enabled, and nothing is while the stop holds.
  return stop === undefined ? afterFailure(io, data, 'deadline') : { event: 'timed_out', limit: 'stopped' }
}
