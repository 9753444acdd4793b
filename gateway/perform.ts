import { answerFrom } from '../audit/answer.ts'
import { levelOf, stillDue } from '../audit/approval.ts'
import type { JobEvent } from '../audit/event.ts'
import type { AuditRecord, RecordData } from '../audit/record.ts'
import { builtinDecision } from '../policy/evaluate.ts'
import type { JobId } from '../policy/job-id.ts'
import { BusError, type Headers } from './bus/message.ts'
import type { Around } from './cause.ts'
import type { Position } from './chain.ts'
import { bodyOf, madeFor, removeCopy, removeLeftCopies, type WaitingStream } from './copies.ts'
import { dispatchHeaders, jobHeaders, originHeaders } from './headers.ts'
import type { Io } from './io.ts'
import { tellApprovers } from './approvals/notice.ts'
import { isReleased, release, quarantine } from './output.ts'
import { clearToDispatch, overtaken } from './stops/stopped.ts'
import { dispatchSubject, pendingSubject, throttledSubject } from './subjects.ts'

/** A record older than this is not dispatched any more: its twin in WORK may be gone, and then nothing would stop a second one. */
const dispatchAgeMaxMs = 5 * 60_000
/** How long after it was sent a dispatch may still reach the server. */
const inFlightMs = 10_000
/** A step takes milliseconds; who is later than this looks again before acting. */
const lateMs = 2_000

/**
 * Makes true what the record says. A function of the record, the job's bytes and the keys, so that a redelivery does exactly
 * the same again. Returns the event that must follow when there is no room or no sense in it any more.
 */
export async function perform(io: Io, at: Position, around: Around): Promise<JobEvent | undefined> {
  const instead = await makeTrue(io, at, around)
  if (instead !== undefined) return instead
  const { record } = at
  const { from, to } = record.data.state
  if (record.data.places !== undefined && from === 'DISPATCHED' && to !== 'DISPATCHED')
    await io.running.leave(record.data.places, record.data.job_id)
  if (record.data.terminal !== undefined || record.data.event === 'quarantined') io.ended(record.data.job_id)
  if (record.data.approval !== undefined) tellApprovers(io, record)
  if (record.data.joined === undefined) notify(io, record, around)
  else await answerJoined(io, record.data, record.data.joined, around)
  return undefined
}

async function makeTrue(io: Io, at: Position, around: Around): Promise<JobEvent | undefined> {
  switch (at.record.data.event) {
    case 'allowed':
    case 'approved':
    case 'retried':
      return dispatch(io, at, around)
    case 'parked':
      return park(io, at, around)
    case 'throttled':
      return hold(io, at, around)
    case 'voted':
    case 'claimed':
    case 'reminded':
    case 'escalated':
      return undefined
    case 'succeeded':
    case 'released':
      return release(io, at, around)
    case 'quarantined':
      return quarantine(io, at, around)
    case 'denied':
    case 'joined':
    case 'rejected':
    case 'expired':
    case 'dropped':
      return removeCopy(io, at, around.copy)
    case 'failed':
      if (isReleased(at.record.data)) await release(io, at, around)
      return removeCopy(io, at, around.copy)
    case 'timed_out':
    case 'cancelled':
      tellPool(io, at.record)
      return removeCopy(io, at, around.copy)
  }
}

async function dispatch(io: Io, at: Position, around: Around): Promise<JobEvent | undefined> {
  const { data } = at.record
  const run = data.dispatch
  if (run === undefined) throw new Error(`record ${at.record.id} dispatches nothing`)
  const subject = dispatchSubject(run.pool, data.topic, data.job_id, run.attempt)
  const untilMs = Math.min(Date.parse(run.deadline), Date.parse(at.record.time) + dispatchAgeMaxMs)
  if (io.nowMs() > untilMs) return tooLate(io, at, around, subject, untilMs)
  const stopped = await overtaken(io, at, subject)
  if (stopped !== undefined) return stopped
  const body = around.body ?? (await bodyOf(io, at.record))
  if (body === undefined) {
    if ((await io.bus.last('WORK', subject)) === undefined) return { event: 'failed', limit: 'payload-gone' }
    return removeCopy(io, at, around.copy)
  }
  if (body === 'altered') return { event: 'failed', limit: 'payload-altered' }
  const headers = await dispatchHeaders(io, at)
  if (isLate(io, at) && (await hasMovedOn(io, at))) return undefined
  const cleared = await clearToDispatch(io, at, subject)
  if ('instead' in cleared) return cleared.instead
  const { leaveByMs } = cleared
  // The clock once more, with nothing that takes time between this look and the dispatch.
  if (io.nowMs() > untilMs) return tooLate(io, at, around, subject, untilMs)
  const appended = await io.bus.append(subject, body, {
    expect: 0,
    messageId: `${data.job_id}.${run.attempt}`,
    headers,
    leaveByMs,
  })
  // A conflict means that this attempt is in WORK already: exactly what the record asks for.
  if (appended.type === 'refused') throw new BusError(`WORK refused a dispatch: ${appended.detail}`)
  io.metrics.dispatched(run.pool)
  if (performance.now() > leaveByMs) {
    // So long on its way that an order may have been first: a look back.
    await io.control.read()
    const late = await overtaken(io, at, subject)
    if (late !== undefined) return late
  }
  return removeCopy(io, at, around.copy)
}

/** What was not dispatched in its time never will be; but first what another gateway has sent must have arrived. */
async function tooLate(
  io: Io,
  at: Position,
  around: Around,
  subject: string,
  untilMs: number,
): Promise<JobEvent | undefined> {
  if ((await io.bus.last('WORK', subject)) !== undefined) return removeCopy(io, at, around.copy)
  if (io.nowMs() < untilMs + inFlightMs)
    throw new BusError('too late to dispatch, too early to say that nobody did')
  return { event: 'timed_out', limit: 'not-dispatched' }
}

const isLate = (io: Io, at: Position): boolean => io.nowMs() - Date.parse(at.record.time) >= lateMs

/** Whoever acts long after the record was written may have been stopped meanwhile, and others moved the job on. */
async function hasMovedOn(io: Io, at: Position): Promise<boolean> {
  const newest = await io.chain.last(at.record.data.job_id)
  if (newest === undefined || newest.sequence === at.sequence) return false
  await removeLeftCopies(io, newest)
  return true
}

async function park(io: Io, at: Position, around: Around): Promise<JobEvent | undefined> {
  const { data } = at.record
  const subject = pendingSubject(data.job_id)
  const { approval } = data
  const headers = {
    ...jobHeaders(io, at),
    'Sluice-Expires': approval?.expires_at ?? at.record.time,
    'Sluice-Due':
      approval === undefined ? at.record.time : (stillDue(approval)[0]?.at ?? approval.expires_at),
    'Sluice-Level': approval === undefined ? 'normal' : levelOf(approval),
  }
  return keep(io, at, around, 'APPROVALS', subject, headers)
}

async function hold(io: Io, at: Position, around: Around): Promise<JobEvent | undefined> {
  const { data } = at.record
  const headers = { ...jobHeaders(io, at), 'Sluice-Not-Before': data.throttle?.not_before ?? at.record.time }
  return keep(io, at, around, 'THROTTLED', throttledSubject(data.job_id), headers)
}

/** Stores the waiting copy, replacing an older one of the same job; a full queue is a recorded denial. */
async function keep(
  io: Io,
  at: Position,
  around: Around,
  stream: WaitingStream,
  subject: string,
  headers: Headers,
): Promise<JobEvent | undefined> {
  const { data } = at.record
  const before = await io.bus.last(stream, subject)
  // The copy that stands there was made for this very record, by a redelivery or by another gateway at the same time.
  if (before !== undefined && madeFor(before) >= at.sequence) return removeCopy(io, at, around.copy, stream)
  const body = around.body ?? (await bodyOf(io, at.record))
  if (body === undefined || body === 'altered') {
    // Whoever did the same between our two looks has stored the copy and then removed the one before it.
    const now = await io.bus.last(stream, subject)
    if (now !== undefined && madeFor(now) >= at.sequence) return removeCopy(io, at, around.copy, stream)
    return denied('sluice.error', `the job's bytes are ${body ?? 'gone'}`, data)
  }
  if (isLate(io, at) && (await hasMovedOn(io, at))) return undefined
  const appended = await io.bus.append(subject, body, { expect: before?.sequence ?? 0, headers })
  if (appended.type === 'refused')
    return denied('sluice.queue-full', `the ${stream} queue is full: try again later`, data)
  if (appended.type === 'conflict') {
    const now = await io.bus.last(stream, subject)
    if (now === undefined || madeFor(now) < at.sequence)
      throw new BusError(`${stream} changed under job ${data.job_id}`)
  }
  return removeCopy(io, at, around.copy, stream)
}

function denied(
  ruleId: 'sluice.queue-full' | 'sluice.error',
  reason: string,
  data: AuditRecord['data'],
): JobEvent {
  const decision = builtinDecision('DENY', ruleId, reason, data.decision.policy_snapshot)
  const { policy, evaluator } = data
  if (policy === undefined || evaluator === undefined)
    throw new Error(`record of ${data.job_id} has no policy`)
  return { event: 'denied', decision, evidence: { policy, evaluator } }
}

/** Workers that listen may stop early; the gateway stops the clock whether they do or not. */
function tellPool(io: Io, record: AuditRecord): void {
  const { dispatch: run, job_id, state } = record.data
  if (state.from !== 'DISPATCHED' || run === undefined) return
  const workers = io.topology.pools.find(({ name }) => name === run.pool)?.workers ?? []
  const body = JSON.stringify({ job_id, attempt: run.attempt, state: state.to })
  // Who of the pool has the job is not known: it went to whichever was free.
  for (const worker of workers) io.bus.publish(`cancel.${run.pool}.${worker}.${job_id}`, body)
}

/** Everybody who may know hears the new state; the key lets the gateway that holds the question answer it. */
function notify(io: Io, record: AuditRecord, around: Around): void {
  const { data } = record
  // The released output says it; and who is reminded is no news for the agent.
  if (['succeeded', 'reminded', 'escalated'].includes(data.event)) return
  const headers = originHeaders(data.job_id, data.state.to, around.origin)
  io.decisions.say(data.actor.id, data.job_id, answerFrom(record, io.nowMs()), headers)
}

/** Who asked the same as somebody before gets that one's answer, as it is by now, and learns what his own is called. */
async function answerJoined(io: Io, data: RecordData, joined: JobId, around: Around): Promise<void> {
  const first = await io.chain.last(joined)
  if (first === undefined) throw new Error(`${data.job_id} joined ${joined}, which is on no record`)
  const answer = answerFrom(first.record, io.nowMs())
  io.decisions.say(
    data.actor.id,
    data.job_id,
    { ...answer, duplicate: true, joined_as: data.job_id },
    { ...originHeaders(data.job_id, answer.state, around.origin), 'Sluice-Duplicate': 'true' },
  )
}
