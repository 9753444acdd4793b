import type { RecordData } from '../audit/record.ts'
import { parseJob } from '../policy/job.ts'
import { beforeParking } from './asking.ts'
import type { Position } from './chain.ts'
import { afterFailure, collectUnread } from './collect.ts'
import type { Delivery } from './bus/delivery.ts'
import { decide, deny } from './decide.ts'
import type { Before } from './decided-event.ts'
import { expiry, notYet, whileStopped } from './approvals/expiry.ts'
import type { Io } from './io.ts'
import { placeRetryMs, placeWaitMs } from './place.ts'
import type { Proposal } from './step.ts'
import { stopOf } from './stops/stopped.ts'

/** A result that cannot be collected for whatever reason holds up the end of its attempt for so many looks, one a second. */
const looksMax = 60

/** The waiting message whose time has come. */
export type Due = Pick<Delivery, 'subject' | 'deliveries'>

/** The time to look at an output that was kept back is over. */
export function quarantineDue(io: Io, _due: Due, { record }: Position): Proposal | Promise<Proposal> {
  const { data, time } = record
  if (data.state.to !== 'QUARANTINED') return { refuse: 'moved-on' }
  return expiry(io, data, time, data.quarantine?.expires_at ?? time, 'quarantine')
}

/** The wait is over: the job runs in the slot that was kept for it, or ends because there was none within `max_wait`. */
export async function throttleDue(
  io: Io,
  { subject }: Due,
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

/**
 * An attempt's deadline has come. A gateway that was away finds both at once, the deadline that has passed and a result that came
 * in time; whichever is delivered first, the result counts, so that nobody is recorded as late who was not.
 */
export async function attemptDue(io: Io, due: Due, last: Position): Promise<Proposal> {
  const { data } = last.record
  const attempt = Number(due.subject.split('.').at(-1))
  if (data.state.to !== 'DISPATCHED' || data.dispatch?.attempt !== attempt) return { refuse: 'moved-on' }
  if (Date.parse(data.dispatch.deadline) > io.nowMs())
    return notYet(Date.parse(data.dispatch.deadline), io.nowMs())
  try {
    if (await collectUnread(io, last)) return { refuse: 'moved-on' }
  } catch (err) {
    if (due.deliveries < looksMax) throw err
    io.log.error({ jobId: data.job_id, err }, 'a result cannot be collected; its attempt ends without it')
  }
  const stop = await stopOf(io, data, false)
  // The attempt is over either way; another one would be enabled, and nothing is while the stop holds.
  return stop === undefined ? afterFailure(io, data, 'deadline') : { event: 'timed_out', limit: 'stopped' }
}
