import { asked, withinApproved } from '../audit/approval.ts'
import type { Dispatch, Evidence, Opened } from '../audit/event.ts'
import type { RecordData } from '../audit/record.ts'
import type { Constraints } from '../policy/constraints.ts'
import { builtinDecision, type BuiltinRuleId, type Decision, type Evaluation } from '../policy/evaluate.ts'
import type { OutputTerms, Policy } from '../policy/rule.ts'
import type { Job } from '../policy/job.ts'
import { subjectMatches } from '../policy/topic.ts'
import type { Before, DecidedEvent } from './decided-event.ts'
import type { Io } from './io.ts'
import { placed } from './place.ts'
import { placesOf } from './running.ts'
import { poolFor } from './config/topology.ts'
import { version } from './version.ts'

type Decided = {
  /** The policy that decided: another may be in force before the record is written. */
  readonly policy: Policy
  readonly evaluation: Evaluation
  readonly nowMs: number
  readonly granted: readonly string[]
}

/**
 * Decides a job under the policy in force and says what must happen: dispatched, parked, waiting or denied. Everything
 * that goes wrong on the way is a denial with its own rule id; only a store that does not answer throws.
 */
export async function decide(io: Io, opened: Opened, job: Job, before?: Before): Promise<DecidedEvent> {
  const policy = io.policy()
  const startedMs = performance.now()
  let decided: Decided
  try {
    const granted = before?.facts?.granted ?? []
    const nowMs = io.nowMs()
    decided = { policy, evaluation: io.evaluate(policy, job, { nowMs, granted }), nowMs, granted }
  } catch (error) {
    io.log.error({ jobId: opened.job_id, err: error }, 'evaluation failed')
    io.metrics.evaluationFailed()
    return failed(io, opened, job, 'sluice.error', 'the policy could not be evaluated')
  }
  const elapsedMs = performance.now() - startedMs
  io.metrics.evaluated(elapsedMs / 1_000)
  if (elapsedMs > io.config.decisionTimeoutMs)
    return failed(io, opened, job, 'sluice.timeout', `no decision within ${io.config.decisionTimeoutMs} ms`)
  const { evaluation, nowMs, granted } = decided
  io.shadow.compare(opened, job, evaluation, { nowMs, granted })
  if (before === undefined && takesRoom(decided.evaluation, policy) && (await isKnown(io, opened)))
    return deny(io, 'sluice.idempotency-conflict', 'this job is on record already')
  if (decided.evaluation.throttles.length > 0) {
    const within = io.config.decisionTimeoutMs - elapsedMs
    const event = await inTime(throttle(io, opened, job, decided, before), within)
    return (
      event ??
      failed(io, opened, job, 'sluice.timeout', `no decision within ${io.config.decisionTimeoutMs} ms`)
    )
  }
  return placed(io, opened, carryOut(io, opened, job, decided, before), before)
}

function takesRoom({ throttles, decision }: Evaluation, policy: Policy): boolean {
  return throttles.length > 0 || placesOf(policy, decision.matched).length > 0
}

/**
 * A retry of a submission, or its redelivery, loses the compare-and-set anyway and is answered from the record. It must not
 * take a slot or a place before it does: nobody would ever use it or give it back.
 */
async function isKnown(io: Io, opened: Opened): Promise<boolean> {
  return (await io.chain.last(opened.job_id)) !== undefined
}

async function inTime<T>(work: Promise<T>, withinMs: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(resolve, withinMs, undefined)))
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

/** A denial that no rule of the policy made. */
export function deny(io: Io, ruleId: BuiltinRuleId, reason: string): DecidedEvent {
  const policy = io.policy()
  return {
    event: 'denied',
    decision: builtinDecision('DENY', ruleId, reason, policy.snapshot),
    evidence: { policy: { source_hash: policy.sourceHash }, evaluator: { name: 'sluice', version } },
  }
}

/** Fail-closed unless the configuration names this topic; an allowance made that way is on record like any other. */
function failed(
  io: Io,
  opened: Opened,
  job: Job,
  ruleId: 'sluice.error' | 'sluice.timeout',
  reason: string,
): DecidedEvent {
  const open =
    io.config.failMode === 'open' &&
    io.config.failOpenTopics.some((pattern) => subjectMatches(pattern, job.topic))
  if (!open) return deny(io, ruleId, reason)
  const policy = io.policy()
  const decision: Decision = {
    ...builtinDecision('DENY', ruleId, `fail-open: ${reason}`, policy.snapshot),
    type: 'ALLOW',
  }
  io.log.warn(
    { jobId: opened.job_id, rule: ruleId },
    'dispatched undecided: the fail mode is open for this topic',
  )
  const dispatch = firstAttempt(io, opened, null)
  if (typeof dispatch === 'string') return deny(io, 'sluice.no-pool', dispatch)
  const evidence: Evidence = {
    policy: { source_hash: policy.sourceHash },
    evaluator: { name: 'sluice', version },
    facts: { now_ms: io.nowMs(), granted: [], fail_mode: 'open' },
  }
  return { event: 'allowed', decision, evidence, dispatch }
}

/** Asks every limit that has not granted this job yet; with all slots free at once, the job goes on to the next gate. */
async function throttle(
  io: Io,
  opened: Opened,
  job: Job,
  decided: Decided,
  before?: Before,
): Promise<DecidedEvent> {
  const { evaluation, nowMs } = decided
  const granted = [...decided.granted]
  let notBeforeMs = nowMs
  let waitsFor = evaluation.decision.rule_id
  for (const limit of evaluation.throttles) {
    const slot = await io.limiter.take(limit, nowMs)
    if (slot.type === 'full') {
      // The rule would rather refuse than wait: the decision says THROTTLE, and the job ends here.
      if (limit.onLimit === 'deny')
        return {
          event: 'denied',
          decision: evaluation.decision,
          evidence: evidenceOf(io, job, { ...decided, granted }),
          throttle: {
            rule_id: limit.ruleId,
            not_before: new Date(slot.untilMs).toISOString(),
            reserved: false,
          },
        }
      const untilMs = nowMs + limit.maxWaitMs
      return throttled(io, job, { ...decided, granted }, limit.ruleId, untilMs, false, before)
    }
    granted.push(limit.ruleId)
    if (slot.notBeforeMs > notBeforeMs) {
      notBeforeMs = slot.notBeforeMs
      waitsFor = limit.ruleId
    }
  }
  if (notBeforeMs > nowMs)
    return throttled(io, job, { ...decided, granted }, waitsFor, notBeforeMs, true, before)
  // Under the policy that asked for the slots: another one may ask for others.
  const { policy } = decided
  const again = { policy, evaluation: io.evaluate(policy, job, { nowMs, granted }), nowMs, granted }
  return placed(io, opened, carryOut(io, opened, job, again, before), before)
}

function throttled(
  io: Io,
  job: Job,
  decided: Decided,
  ruleId: string,
  untilMs: number,
  hasSlot: boolean,
  before?: Before,
): DecidedEvent {
  // An approval is not kept for ever: a slot after its time is no slot.
  const useByMs = usableUntilMs(before)
  const reserved = hasSlot && untilMs <= useByMs
  return {
    event: 'throttled',
    decision: narrowed(decided.evaluation.decision, before),
    evidence: evidenceOf(io, job, decided),
    ...obligation(decided),
    throttle: { rule_id: ruleId, not_before: new Date(Math.min(untilMs, useByMs)).toISOString(), reserved },
    ...(before?.resolution === undefined ? {} : { resolution: before.resolution }),
  }
}

/** Until when an approval that was given may still be used. */
function usableUntilMs(before: Before | undefined): number {
  if (before?.resolution === undefined || before.approval === undefined) return Infinity
  return Date.parse(before.resolution.at) + before.approval.use_within_ms
}

/** The outcome is final for now: what must be written for it. */
function carryOut(io: Io, opened: Opened, job: Job, decided: Decided, before?: Before): DecidedEvent {
  const { approval } = decided.evaluation
  const decision = narrowed(decided.evaluation.decision, before)
  const evidence = evidenceOf(io, job, decided)
  const dispatch = firstAttempt(io, opened, decision.constraints)
  const approved = before?.resolution
  const output = obligation(decided)
  switch (decision.type) {
    case 'DENY':
      return { event: 'denied', decision: decided.evaluation.decision, evidence }
    case 'REQUIRE_APPROVAL': {
      if (typeof dispatch === 'string') return deny(io, 'sluice.no-pool', dispatch)
      if (approval === null) throw new Error('a decision that requires approval says not which')
      // What was approved is what was asked then: another requirement is asked for again.
      if (approved !== undefined && before?.approval?.requirement === approval.id)
        return { event: 'approved', decision, evidence, ...output, dispatch, resolution: approved }
      return {
        event: 'parked',
        decision: decided.evaluation.decision,
        evidence,
        ...output,
        approval: asked(decided.nowMs, approval),
      }
    }
    case 'ALLOW':
    case 'ALLOW_WITH_CONSTRAINTS':
      if (typeof dispatch === 'string') return deny(io, 'sluice.no-pool', dispatch)
      if (approved !== undefined)
        return { event: 'approved', decision, evidence, ...output, dispatch, resolution: approved }
      return { event: 'allowed', decision, evidence, ...output, dispatch }
    case 'THROTTLE':
      throw new Error('a limit that granted its slot still throttles')
  }
}

/** A job that had to wait for room after its approval runs within what was approved as well. */
function narrowed(decision: Decision, before: Before | undefined): Decision {
  const { approval, resolution, decision: approved } = before ?? {}
  if (approval === undefined || resolution === undefined) return decision
  return withinApproved(decision, approved?.constraints ?? null, approval)
}

function obligation(decided: Decided): { readonly output?: OutputTerms } {
  const { output } = decided.evaluation
  return output === null ? {} : { output }
}

/** The first attempt's place and clock, or why there is none. */
export function firstAttempt(io: Io, opened: Opened, constraints: Constraints | null): Dispatch | string {
  const pool = poolFor(io.topology, opened.topic)
  if (pool === undefined) return `no worker pool serves ${opened.topic}`
  const attempts_max = 1 + (constraints?.max_retries ?? 0)
  return { attempt: 1, attempts_max, deadline: deadline(io, opened, constraints), pool: pool.name }
}

/** The next attempt after a failed one, or undefined when none is left. */
export function nextAttempt(io: Io, data: RecordData): Dispatch | undefined {
  const run = data.dispatch
  if (run === undefined || run.attempt >= run.attempts_max) return undefined
  if (data.job_deadline !== undefined && Date.parse(data.job_deadline) <= io.nowMs()) return undefined
  return { ...run, attempt: run.attempt + 1, deadline: deadline(io, data, data.decision.constraints) }
}

/** Every attempt has an end: the least of the rule's limit, the job's own deadline and the configured one. */
function deadline(io: Io, opened: Opened, constraints: Constraints | null): string {
  const nowMs = io.nowMs()
  const runtimeSec = Math.min(constraints?.max_runtime_sec ?? Infinity, io.config.dispatchTimeoutSec)
  const own = opened.job_deadline === undefined ? Infinity : Date.parse(opened.job_deadline)
  return new Date(Math.min(nowMs + runtimeSec * 1_000, own)).toISOString()
}

type Input = NonNullable<Evidence['input']>

function inputOf(job: Job, { tags, truths }: Evaluation): Input {
  const input: { [Key in keyof Input]: Input[Key] | undefined } = {
    capability: job.capability,
    labels: Object.fromEntries(
      job.labels.size < 2 ? job.labels : [...job.labels].toSorted(([a], [b]) => (a < b ? -1 : 1)),
    ),
    requires: job.requires,
    risk_tags: tags,
    truths: truths.size === 0 ? undefined : Object.fromEntries(truths),
  }
  return input as Input
}

/** What the evaluator read, for the record. */
function evidenceOf(io: Io, job: Job, decided: Decided): Evidence {
  return {
    // Keys in the order of the record's bytes, here and below, so that nothing has to be sorted.
    policy: { source_hash: decided.policy.sourceHash },
    evaluator: { name: 'sluice', version },
    input: inputOf(job, decided.evaluation),
    facts: { fail_mode: io.config.failMode, granted: decided.granted, now_ms: decided.nowMs },
  }
}
