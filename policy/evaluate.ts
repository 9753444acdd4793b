import type { Constraints } from './constraints.ts'
import type { Job } from './job.ts'
import type { ApprovalRequirement } from './merge-approval.ts'
import type { Merged } from './merge.ts'
import type { OutputTerms, Policy, Rule, ThrottleTerms } from './rule.ts'
import type { Truths } from './rule-index.ts'

export type { ApprovalRequirement } from './merge-approval.ts'

/** The five outcomes; there is no sixth, and nothing stands for "unknown". */
export type DecisionType = 'ALLOW' | 'DENY' | 'REQUIRE_APPROVAL' | 'THROTTLE' | 'ALLOW_WITH_CONSTRAINTS'

/** What was decided and why, as it stands in answers and records. `reason` is never empty; `matched` is sorted. */
export type Decision = {
  readonly type: DecisionType
  readonly rule_id: string
  readonly reason: string
  readonly policy_snapshot: string
  readonly constraints: Constraints | null
  readonly matched: readonly string[]
  readonly risk_tier?: string
}

/**
 * Everything impure that a decision depends on. `granted` are throttle rules whose limit has given this job a slot. `truths`,
 * when given, are a record's answers to payload and time conditions: neither payload nor clock is looked at then.
 */
export type Facts = { readonly nowMs: number; readonly granted: readonly string[]; readonly truths?: Truths }

/** A limit that this job must pass; `key` names the counter that it shares with other jobs. */
export type Throttle = ThrottleTerms & { readonly key: string }

/** A decision with the obligations behind it. `throttles` is non-empty exactly when the type is THROTTLE. */
export type Evaluation = {
  readonly decision: Decision
  readonly throttles: readonly Throttle[]
  /** Set whenever a rule asks for approval and none denies, also while the job is throttled. */
  readonly approval: ApprovalRequirement | null
  /** How the output of the job must be treated beyond what the detectors do anyway. */
  readonly output: OutputTerms | null
  readonly tags: { readonly declared: readonly string[]; readonly derived: readonly string[] }
  /** The answers of the payload and time conditions that were asked: with them the decision can be replayed. */
  readonly truths: Truths
  /** Conditions that `facts.truths` did not answer. Not empty means: this is not a replay, the record knows too little. */
  readonly unanswered: readonly string[]
}

/** Rule ids of our own, for decisions that no rule of the policy made. Policies may not use the prefix. */
export type BuiltinRuleId =
  | 'sluice.no-match'
  | 'sluice.invalid-job'
  | 'sluice.identity-mismatch'
  | 'sluice.idempotency-conflict'
  | 'sluice.error'
  | 'sluice.timeout'
  | 'sluice.queue-full'
  | 'sluice.no-pool'
  | 'sluice.expired'
  | 'sluice.stopped'

const noMatchReason = 'No rule allows this job, and what no rule allows is denied.'
const noMatch = { id: 'sluice.no-match', reason: noMatchReason } as const
const noThrottles: readonly Throttle[] = []

/**
 * Decides one job: all matching rules count, the most restrictive wins, and no obligation is lost. Pure: the same policy,
 * job and facts give the same evaluation, byte for byte, on any machine.
 */
export function evaluate(policy: Policy, job: Job, facts: Facts): Evaluation {
  const { rules, derived, truths, unanswered } = policy.index.covering(job, facts.nowMs, facts.truths)
  const merged = policy.merges.of(policy.rules, rules)
  const denied = merged.denying !== null || !merged.granted
  const throttles = denied || merged.throttling.length === 0 ? noThrottles : throttlesOf(merged, job, facts)
  return {
    decision: settled(policy, merged, throttles, facts, tierOf(policy, job.riskTags, derived)),
    throttles,
    approval: merged.approval,
    output: merged.output,
    tags: { declared: job.riskTags, derived },
    truths,
    unanswered,
  }
}

/** A decision that no rule of the policy made. */
export function builtinDecision(
  type: 'DENY',
  ruleId: BuiltinRuleId,
  reason: string,
  snapshot: string,
): Decision {
  return { type, rule_id: ruleId, reason, policy_snapshot: snapshot, constraints: null, matched: [] }
}

/**
 * Without a tier of its own and with no slot granted yet, a decision depends on the set of rules alone: it is made once for the
 * set, and what was made is never changed.
 */
function settled(
  policy: Policy,
  merged: Merged,
  throttles: readonly Throttle[],
  { granted }: Facts,
  tier: string | undefined,
): Decision {
  if (tier !== undefined || granted.length > 0) return decide(policy, merged, throttles, tier)
  return (merged.settled.decision ??= decide(policy, merged, throttles, tier))
}

/** The gates in their order: deny, throttle, approval, constraints. */
function decide(
  policy: Policy,
  merged: Merged,
  throttles: readonly Throttle[],
  tier: string | undefined,
): Decision {
  const { matched, denying, granted, throttling, approving, constraining, constraints, first } = merged
  if (denying !== null) return decision('DENY', denying, policy, matched, null, tier)
  if (!granted || first === null) {
    return decision('DENY', noMatch, policy, matched, null, tier)
  }
  const waiting = throttles[0]
  if (waiting !== undefined) {
    const rule = throttling.find((candidate) => candidate.id === waiting.ruleId) ?? first
    return decision('THROTTLE', rule, policy, matched, constraints, tier)
  }
  if (approving[0] !== undefined) {
    return decision('REQUIRE_APPROVAL', approving[0], policy, matched, constraints, tier)
  }
  if (constraining[0] !== undefined) {
    return decision('ALLOW_WITH_CONSTRAINTS', constraining[0], policy, matched, constraints, tier)
  }
  return decision('ALLOW', first, policy, matched, null, tier)
}

function decision(
  type: DecisionType,
  rule: Pick<Rule, 'id' | 'reason'>,
  policy: Policy,
  matched: readonly string[],
  constraints: Constraints | null,
  tier: string | undefined,
): Decision {
  const { id, reason } = rule
  const { snapshot } = policy
  if (tier === undefined)
    return { type, rule_id: id, reason, policy_snapshot: snapshot, constraints, matched }
  return { type, rule_id: id, reason, policy_snapshot: snapshot, constraints, matched, risk_tier: tier }
}

/** The matching limits that have not yet given this job a slot, each with the counter that the job falls under. */
function throttlesOf({ throttling }: Merged, job: Job, { granted }: Facts): readonly Throttle[] {
  const waiting: Throttle[] = []
  for (const { throttle } of throttling) {
    if (throttle === null || granted.includes(throttle.ruleId)) continue
    waiting.push({ ...throttle, key: throttleKey(throttle, job) })
  }
  return waiting
}

function throttleKey(terms: ThrottleTerms, job: Job): string {
  if (terms.keyedBy.length === 0) return terms.ruleId
  const values = terms.keyedBy.map((part) => {
    switch (part) {
      case 'tenant':
        return job.tenant
      case 'actor':
        return `${job.tenant}.${job.agent}`
      case 'topic':
        return job.topic
      default:
        return job.labels.get(part.slice('label:'.length)) ?? null
    }
  })
  return JSON.stringify([terms.ruleId, ...values])
}

function tierOf(policy: Policy, declared: readonly string[], derived: readonly string[]): string | undefined {
  for (const { tier, tags } of policy.riskTiers) {
    for (const tag of declared) if (tags.has(tag)) return tier
    for (const tag of derived) if (tags.has(tag)) return tier
  }
  return undefined
}
