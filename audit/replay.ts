import { withinApproved } from './approval.ts'
import type { Constraints } from '../policy/constraints.ts'
import { canonicalJson } from '../policy/digest.ts'
import { evaluate, type Decision, type DecisionType } from '../policy/evaluate.ts'
import type { Job } from '../policy/job.ts'
import type { Policy } from '../policy/rule.ts'
import { windowHolds, type TimeWindow } from '../policy/time-window.ts'
import { matchedMax, type AuditRecord, type RecordData } from './record.ts'

/** What a policy makes of recorded decisions. Jobs are counted by decision: one that was decided twice counts twice. */
export type ReplayReport = {
  /** Decisions on record, and how many of them an evaluator took and could take again. */
  readonly decisions: number
  readonly replayed: number
  /** Another outcome than the recorded one. */
  readonly flips: readonly Flip[]
  /** The same outcome by another rule, or with other constraints. */
  readonly changes: readonly Flip[]
  /** Taken under this very policy, and yet not what it says: evidence that does not hold. */
  readonly not_reproduced: Examples
  /** Nothing that an evaluator could decide again, and why. */
  readonly not_replayable: readonly (Examples & { readonly reason: string })[]
  /** Decisions that no policy took (`sluice.stopped`, a place that was not free), by rule id. */
  readonly not_evaluated: Readonly<Record<string, number>>
  readonly rules_never_hit: readonly string[]
}

export type Examples = { readonly count: number; readonly job_ids: readonly string[] }

export type Flip = Examples & {
  readonly from: { readonly type: DecisionType; readonly rule_id: string }
  readonly to: { readonly type: DecisionType; readonly rule_id: string }
  /** `<tenant>.<agent>` */
  readonly actor: string
}

export type Replay = {
  /** Records in the order in which they stand in AUDIT. */
  add(record: AuditRecord): void
  report(): ReplayReport
}

const examplesMax = 5

/** Decides recorded jobs again under a policy: from what the record says the evaluator read, and from nothing else. */
export function startReplay(policy: Policy): Replay {
  const open = new Map<string, Before>()
  const flips = new Map<string, Counted<Pick<Flip, 'from' | 'to' | 'actor'>>>()
  const changes: typeof flips = new Map()
  const unable = new Map<string, Counted<{ readonly reason: string }>>()
  const broken = counted({})
  const notEvaluated: Record<string, number> = {}
  const never = new Set(policy.rules.map(({ id }) => id))
  const questions = questionsOf(policy)
  let decisions = 0
  let replayed = 0

  const add = (record: AuditRecord): void => {
    const { data } = record
    // Beside the chains stand records that name a job and decide nothing, such as refused acts.
    if (typeof data?.job_id !== 'string' || data.decision === undefined) return
    const before = open.get(data.job_id)
    if (data.terminal === undefined)
      open.set(data.job_id, { granted: data.facts?.granted ?? [], constraints: data.decision.constraints })
    else open.delete(data.job_id)
    if (!isDecision(data)) return
    decisions++
    const skipped = notByPolicy(data)
    if (skipped !== undefined) {
      notEvaluated[skipped] = (notEvaluated[skipped] ?? 0) + 1
      return
    }
    const grants = grantsOf(data, before)
    if (typeof grants === 'string') return note(unable, grants, { reason: grants }, data.job_id)
    const evaluation = evaluate(policy, jobOf(data), {
      nowMs: data.facts?.now_ms ?? 0,
      granted: grants,
      truths: truthsOf(data, questions),
    })
    const [missing] = evaluation.unanswered
    if (missing !== undefined) {
      const reason = `the record does not say whether ${questions.payload.get(missing) ?? missing} of the payload is as asked`
      return note(unable, reason, { reason }, data.job_id)
    }
    replayed++
    for (const id of evaluation.decision.matched) never.delete(id)
    const then = narrowed(evaluation.decision, data, before)
    if (data.decision.policy_snapshot === policy.snapshot && !isSame(then, data)) count(broken, data.job_id)
    const to = { type: then.type, rule_id: then.rule_id }
    const from = { type: data.decision.type, rule_id: data.decision.rule_id }
    const actor = `${data.tenant}.${data.actor.id}`
    const group = { from, to, actor }
    if (from.type !== to.type) note(flips, canonicalJson(group), group, data.job_id)
    else if (from.rule_id !== to.rule_id || !sameConstraints(then, data))
      note(changes, canonicalJson(group), group, data.job_id)
  }
  return {
    add,
    report: () => ({
      decisions,
      replayed,
      flips: byCount(flips),
      changes: byCount(changes),
      not_reproduced: { count: broken.count, job_ids: broken.job_ids },
      not_replayable: byCount(unable),
      not_evaluated: notEvaluated,
      rules_never_hit: [...never],
    }),
  }
}

type Counted<Group> = Group & { count: number; job_ids: string[] }

function counted<Group extends object>(group: Group): Counted<Group> {
  return { ...group, count: 0, job_ids: [] }
}

function count(counted: Counted<object>, jobId: string): void {
  counted.count++
  if (counted.job_ids.length < examplesMax && !counted.job_ids.includes(jobId)) counted.job_ids.push(jobId)
}

function note<Group extends object>(
  groups: Map<string, Counted<Group>>,
  key: string,
  group: Group,
  jobId: string,
): void {
  const known = groups.get(key) ?? counted(group)
  groups.set(key, known)
  count(known, jobId)
}

function byCount<Group extends object>(groups: ReadonlyMap<string, Counted<Group>>): Counted<Group>[] {
  return [...groups.values()].toSorted((a, b) => b.count - a.count)
}

/** Only a record that carries its evidence took a decision; the others carry the one that is in force. */
function isDecision({ event, policy }: RecordData): boolean {
  return policy !== undefined && ['allowed', 'parked', 'throttled', 'denied', 'approved'].includes(event)
}

/** What decided instead of the policy, if anything did. */
function notByPolicy({ input, decision, throttle, event }: RecordData): string | undefined {
  if (event === 'throttled' && throttle?.waits_for === 'place') return 'place'
  return input === undefined ? decision.rule_id : undefined
}

/** The slots that a job had when it was decided. A record that waits names those as well that it only got by this decision. */
function grantsOf(data: RecordData, before: Before | undefined): readonly string[] | string {
  // What was in force before is part of how an approval or a wait came out.
  if (before === undefined && data.job_seq > 0) return 'the record before it is not among these'
  if (data.decision.type !== 'THROTTLE') return data.facts?.granted ?? []
  // Who waits again for a limit that had given it a slot has missed that slot, and with it all others.
  const granted = before?.granted ?? []
  return granted.includes(data.decision.rule_id) ? [] : granted
}

/** The job as far as the evaluator looked at it. Its payload is not on record; `truths` answer for it. */
function jobOf(data: RecordData): Job {
  const { input } = data
  return {
    topic: data.topic,
    tenant: data.tenant,
    agent: data.actor.id,
    riskTags: input?.risk_tags.declared ?? [],
    labels: new Map(Object.entries(input?.labels ?? {})),
    ...(input?.capability === undefined ? {} : { capability: input.capability }),
    payload: undefined,
    bytes: data.payload.bytes,
  }
}

/** What the record before said, while the job is open. */
type Before = { readonly granted: readonly string[]; readonly constraints: Constraints | null }

type Questions = {
  readonly payload: ReadonlyMap<string, string>
  readonly time: ReadonlyMap<string, TimeWindow>
}

function questionsOf(policy: Policy): Questions {
  const payload = new Map<string, string>()
  const time = new Map<string, TimeWindow>()
  for (const { match, unless } of [...policy.rules, ...policy.derivations]) {
    for (const condition of [match, unless ?? {}]) {
      for (const { id, pointer } of condition.payload ?? []) payload.set(id, pointer)
      if (condition.time !== undefined) time.set(condition.time.id, condition.time)
    }
  }
  return { payload, time }
}

/** What the record answers, and the times that it did not ask about: the moment is on record, so a window is no guess. */
function truthsOf({ input, facts }: RecordData, { time }: Questions): ReadonlyMap<string, boolean> {
  const truths = new Map(Object.entries(input?.truths ?? {}))
  for (const [id, window] of time)
    if (!truths.has(id)) truths.set(id, windowHolds(window, facts?.now_ms ?? 0))
  return truths
}

/** What a person approved runs within the limits that were shown, those of now, and those that approvers added. */
function narrowed(decision: Decision, data: RecordData, before: Before | undefined): Decision {
  const isApproved =
    data.event === 'approved' || (data.event === 'throttled' && data.resolution !== undefined)
  if (!isApproved) return decision
  return withinApproved(decision, before?.constraints ?? null, data.approval ?? { votes: [] })
}

function isSame(decision: Decision, data: RecordData): boolean {
  const recorded: Decision = data.decision
  const replayed = { ...decision, matched: decision.matched.slice(0, matchedMax) }
  return canonicalJson(replayed) === canonicalJson(recorded)
}

function sameConstraints(decision: Decision, { decision: recorded }: RecordData): boolean {
  return canonicalJson(decision.constraints) === canonicalJson(recorded.constraints)
}
