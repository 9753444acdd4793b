import type { Dispatch, JobEvent, Result } from '../audit/event.ts'
import type { RecordData } from '../audit/record.ts'
import { needsWorker } from '../policy/constraints.ts'
import { constraintsHash, shortHash } from '../policy/digest.ts'
import { detectorsSnapshot, scan } from '../policy/scan.ts'
import type { Position } from './chain.ts'
import { nextAttempt } from './decide.ts'
import type { Delivery } from './bus/delivery.ts'
import type { Io } from './io.ts'
import type { Refusals } from './refusals.ts'
import { isResultToken, outputHash, saltOf } from './salt.ts'
import { step } from './step.ts'
import { stopOf } from './stops/stopped.ts'
import { resultsStream } from './nats/streams.ts'
import { parseResult, type ResultSubject } from './subjects.ts'

/** A worker answers: check that it may, scan what it says, step. Nothing flows downstream before the scan. */
export async function collect(io: Io, refusals: Refusals, delivery: Delivery): Promise<void> {
  const subject = parseResult(delivery.subject)
  const cause = shortHash(`${delivery.stream}:${delivery.sequence}:${delivery.storedNs}`)
  if (subject === undefined) {
    // A reflected message may land here under a subject that no worker has (research case: reply of a pull).
    await refusals.record({
      job: undefined,
      principal: delivery.stream,
      refuse: 'foreign-subject',
      detail: '',
      cause,
    })
    return delivery.ack()
  }
  const scanned = scan(delivery.body)
  const around = { output: { raw: delivery.body, released: scanned.output } }
  const start = io.chain.remembered(subject.job) ?? (await io.chain.last(subject.job))
  const done = await step(io, { job: subject.job, id: cause, around }, start, async (last) => {
    const refused = last === undefined ? 'unknown-job' : refusal(io, subject, delivery, last)
    if (last === undefined || refused !== undefined) return { refuse: refused ?? 'unknown-job' }
    const event = proposal(io, subject, delivery, last.record.data, scanned)
    if (event.event !== 'retried' || (await stopOf(io, last.record.data, false)) === undefined) return event
    return { event: 'failed', limit: 'stopped', ...(event.result && { result: event.result }) }
  })
  if (done.type === 'refused') {
    await refusals.record({
      job: subject.job,
      principal: `${subject.pool}/${subject.worker}`,
      refuse: done.refuse,
      detail: done.detail,
      cause,
    })
  }
  delivery.ack()
}

/** Why this result does not count; the first reason found. */
function refusal(io: Io, subject: ResultSubject, delivery: Delivery, last: Position): string | undefined {
  const { data } = last.record
  const run = data.dispatch
  if (run === undefined) return 'never-dispatched'
  if (run.pool !== subject.pool) return 'wrong-pool'
  if (data.state.to !== 'DISPATCHED') return 'late-result'
  if (delivery.header('Sluice-Attempt') !== String(run.attempt)) return 'stale-attempt'
  const dispatched = { job: subject.job, attempt: run.attempt, decisionSequence: last.sequence }
  if (!isResultToken(io.keys, dispatched, delivery.header('Sluice-Result-Token'))) return 'bad-token'
  // The stored time counts, not ours: a gateway that was away must not refuse what came in time.
  if (delivery.storedMs > Date.parse(run.deadline)) return 'late-result'
  return undefined
}

function proposal(
  io: Io,
  subject: ResultSubject,
  delivery: Delivery,
  data: RecordData,
  scanned: ReturnType<typeof scan>,
): JobEvent {
  const run = data.dispatch as Dispatch
  const { constraints } = data.decision
  const failed = delivery.header('Sluice-Status') === 'error'
  const unproven =
    needsWorker(constraints) && delivery.header('Sluice-Constraints-Hash') !== constraintsHash(constraints)
  const tooLarge = (constraints?.max_output_bytes ?? Infinity) < delivery.body.length
  const kept = scanned.findings.some(({ detector, class: kind }) =>
    [detector, kind].some((name) => data.output?.quarantine.includes(name)),
  )
  const action = unproven || kept ? 'quarantine' : scanned.action
  const result: Result = {
    action,
    attempt: run.attempt,
    detectors: detectorsSnapshot,
    findings: unproven
      ? [
          ...scanned.findings,
          { detector: 'constraints-echo', class: 'constraint', count: 1, action: 'quarantine' },
        ]
      : scanned.findings,
    output_bytes: delivery.body.length,
    output_hash: outputHash(saltOf(io.keys, data), scanned.output),
    status: failed ? 'error' : 'ok',
    worker: subject.worker,
  }
  if (tooLarge) return { event: 'failed', limit: 'max_output_bytes', result }
  if (failed) return afterFailure(io, data, 'error', result)
  if (action !== 'quarantine') return { event: 'succeeded', result }
  const expiresMs = io.nowMs() + io.config.quarantineExpiresSec * 1_000
  return { event: 'quarantined', result, quarantine: { expires_at: new Date(expiresMs).toISOString() } }
}

/** What came in time is waited for at most so long, if nobody reads it. */
const unreadMs = 60_000

/**
 * Whether a result of this attempt was stored in time and still waits to be read. A gateway that was away finds both at
 * once, the passed deadline and the result, and must not record that there was none.
 */
export async function hasUnreadResult(io: Io, data: RecordData): Promise<boolean> {
  const run = data.dispatch
  if (run === undefined || io.nowMs() > Date.parse(run.deadline) + unreadMs) return false
  const stored = await io.bus.last(resultsStream(run.pool), `result.${run.pool}.*.${data.job_id}`)
  return (
    stored !== undefined &&
    stored.timeMs <= Date.parse(run.deadline) &&
    stored.header('Sluice-Attempt') === String(run.attempt)
  )
}

/** Only the gateway retries: an error or a passed deadline uses one of the attempts that the decision grants. */
export function afterFailure(
  io: Io,
  data: RecordData,
  limit: 'error' | 'deadline',
  result?: Result,
): JobEvent {
  const dispatch = nextAttempt(io, data)
  if (dispatch !== undefined) return { event: 'retried', limit, dispatch, ...(result && { result }) }
  if (limit === 'deadline') return { event: 'timed_out', limit: limitOf(data) }
  return { event: 'failed', limit, ...(result && { result }) }
}

/** Which of the three limits it was that ended the attempt. */
function limitOf(data: RecordData): string {
  if (data.job_deadline !== undefined && data.dispatch?.deadline === data.job_deadline) return 'deadline'
  return data.decision.constraints?.max_runtime_sec === undefined ? 'dispatch_timeout' : 'max_runtime_sec'
}
