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
import { step, type Step } from './step.ts'
import { stopOf } from './stops/stopped.ts'
import { resultsStream } from './nats/streams.ts'
import { parseResult, type ResultSubject } from './subjects.ts'

/** A worker answers: check that it may, scan what it says, step. Nothing flows downstream before the scan. */
export async function collect(io: Io, refusals: Refusals, delivery: Delivery): Promise<void> {
  const subject = parseResult(delivery.subject)
  const cause = causeOf(delivery)
  if (subject === undefined) {
    // A reflected message may land here under a subject that no worker has: as the reply of a pull.
    await refusals.record({
      job: undefined,
      principal: delivery.stream,
      refuse: 'foreign-subject',
      detail: '',
      cause,
    })
    return delivery.ack()
  }
  const done = await take(io, subject, cause, delivery)
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

/** So many results of one job are looked through; each but the first that counts is refused by its own delivery. */
const unreadMax = 16

/**
 * Collects a result of the attempt in force that was stored in time and that nobody has read yet, as if it had been delivered
 * here: when it is delivered, it is on record. False if there is none.
 */
export async function collectUnread(io: Io, last: Position): Promise<boolean> {
  const { dispatch: run, job_id } = last.record.data
  if (run === undefined) return false
  const stream = resultsStream(run.pool)
  let from = 1
  for (let looks = 0; looks < unreadMax; looks++) {
    const stored = await io.bus.next(stream, `result.${run.pool}.*.${job_id}`, from)
    const subject = stored && parseResult(stored.subject)
    if (stored === undefined || subject === undefined) return false
    const { timeMs: storedMs, timeNs: storedNs, ...rest } = stored
    const answer: Answered = { ...rest, stream, storedMs, storedNs }
    if (refusal(io, subject, answer, last) === undefined) {
      await take(io, subject, causeOf(answer), answer)
      return true
    }
    from = stored.sequence + 1
  }
  return false
}

/** A worker's message, delivered or read. */
type Answered = Pick<
  Delivery,
  'stream' | 'subject' | 'sequence' | 'storedMs' | 'storedNs' | 'body' | 'header'
>

/** The same for all who get this message, however they do. */
const causeOf = ({ stream, sequence, storedNs }: Answered): string =>
  shortHash(`${stream}:${sequence}:${storedNs}`)

async function take(io: Io, subject: ResultSubject, cause: string, answered: Answered): Promise<Step> {
  const scanned = scan(answered.body)
  const around = { output: { raw: answered.body, released: scanned.output } }
  const start = io.chain.remembered(subject.job) ?? (await io.chain.last(subject.job))
  return step(io, { job: subject.job, id: cause, around }, start, async (last) => {
    if (last === undefined) return { refuse: 'unknown-job' }
    const refused = refusal(io, subject, answered, last)
    if (refused !== undefined) return refused
    const event = proposal(io, subject, answered, last.record.data, scanned)
    if (event.event !== 'retried' || (await stopOf(io, last.record.data, false)) === undefined) return event
    return { event: 'failed', limit: 'stopped', ...(event.result && { result: event.result }) }
  })
}

type Refused = { readonly refuse: string; readonly detail?: string }

/** Why this result does not count; the first reason found. */
function refusal(io: Io, subject: ResultSubject, answered: Answered, last: Position): Refused | undefined {
  const { data, time } = last.record
  const run = data.dispatch
  if (run === undefined) return { refuse: 'never-dispatched' }
  if (run.pool !== subject.pool) return { refuse: 'wrong-pool' }
  const stored = `stored ${new Date(answered.storedMs).toISOString()}`
  if (data.state.to !== 'DISPATCHED')
    return { refuse: 'late-result', detail: `${stored}, ${data.state.to} since ${time}` }
  if (answered.header('Sluice-Attempt') !== String(run.attempt)) return { refuse: 'stale-attempt' }
  const dispatched = { job: subject.job, attempt: run.attempt, decisionSequence: last.sequence }
  if (!isResultToken(io.keys, dispatched, answered.header('Sluice-Result-Token')))
    return { refuse: 'bad-token' }
  // The stored time counts, not ours: a gateway that was away must not refuse what came in time. Who finds the deadline passed
  // has seen everything that was stored before it.
  if (answered.storedMs >= Date.parse(run.deadline))
    return { refuse: 'late-result', detail: `${stored}, the deadline was ${run.deadline}` }
  return undefined
}

function proposal(
  io: Io,
  subject: ResultSubject,
  delivery: Answered,
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
