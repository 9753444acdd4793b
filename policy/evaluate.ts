import { absent } from './branch-table.ts'
import type { Constraints } from './constraints.ts'
import type { Job } from './job.ts'
import type { ApprovalRequirement } from './merge-approval.ts'
import type { Throttle } from './merge.ts'
import type { OutputTerms, Policy, ThrottleTerms } from './rule.ts'
import type { Truths } from './rule-index.ts'

export type { ApprovalRequirement } from './merge-approval.ts'
export type { Throttle } from './merge.ts'

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
  | 'sluice.rejected-before'
  | 'sluice.no-pool'
  | 'sluice.expired'
  | 'sluice.stopped'

const noMatchReason = 'No rule allows this job, and what no rule allows is denied.'
const noThrottles: readonly Throttle[] = []

/**
 * Decides one job: all matching rules count, the most restrictive wins, and no obligation is lost. Pure: the same policy,
 * job and facts give the same evaluation, byte for byte, on any machine.
 */
export function evaluate(policy: Policy, job: Job, facts: Facts): Evaluation {
  const { index, merge } = policy
  const { rules, derived, truths, unanswered } = index.covering(job, facts.nowMs, facts.truths)
  const matched = merge.begin(rules)
  const tier = tierOf(policy, job.riskTags, derived)
  const tags = { declared: job.riskTags, derived }
  const { denying, granted } = merge
  if (denying !== absent || !granted) {
    // What is denied runs within nothing and waits for nobody.
    const denied =
      denying === absent
        ? decision('DENY', 'sluice.no-match', noMatchReason, policy, matched, null, tier)
        : decision('DENY', merge.id(denying), merge.reason(denying), policy, matched, null, tier)
    const throttles = noThrottles
    return { decision: denied, throttles, approval: null, output: null, tags, truths, unanswered }
  }
  const throttles = merge.throttling.count === 0 ? noThrottles : throttlesOf(policy, job, facts)
  const decided = decide(policy, matched, rules.at(0), throttles, tier)
  const approval = merge.approval()
  return { decision: decided, throttles, approval, output: merge.output(), tags, truths, unanswered }
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

/** The gates behind deny in their order: throttle, approval, constraints. */
function decide(
  policy: Policy,
  matched: readonly string[],
  first: number,
  throttles: readonly Throttle[],
  tier: string | undefined,
): Decision {
  const { merge } = policy
  const { throttling, approving, constraining } = merge
  const constraints = merge.constraints()
  const ofRule = (type: DecisionType, number: number): Decision =>
    decision(type, merge.id(number), merge.reason(number), policy, matched, constraints, tier)
  if (throttles[0] !== undefined) {
    let place = 0
    while (merge.id(throttling.at(place)) !== throttles[0].ruleId) place++
    return ofRule('THROTTLE', throttling.at(place))
  }
  if (approving.count > 0) return ofRule('REQUIRE_APPROVAL', approving.at(0))
  return constraining.count > 0
    ? ofRule('ALLOW_WITH_CONSTRAINTS', constraining.at(0))
    : ofRule('ALLOW', first)
}

function decision(
  type: DecisionType,
  ruleId: string,
  reason: string,
  { snapshot }: Policy,
  matched: readonly string[],
  constraints: Constraints | null,
  tier: string | undefined,
): Decision {
  const made = { type, rule_id: ruleId, reason, policy_snapshot: snapshot, constraints, matched }
  return tier === undefined ? made : { ...made, risk_tier: tier }
}

/** The matching limits that have not yet given this job a slot, each with the counter that the job falls under. */
function throttlesOf({ rules, merge }: Policy, job: Job, { granted }: Facts): readonly Throttle[] {
  if (granted.length === 0) {
    const shared = merge.throttles()
    if (shared !== null) return shared
  }
  const waiting: Throttle[] = []
  for (let at = 0; at < merge.throttling.count; at++) {
    const terms = rules[merge.throttling.at(at)]?.throttle ?? null
    if (terms === null || granted.includes(terms.ruleId)) continue
    waiting.push({ ...terms, key: throttleKey(terms, job) })
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

function tierOf(
  { riskTiers }: Policy,
  declared: readonly string[],
  derived: readonly string[],
): string | undefined {
  for (let place = 0; place < riskTiers.length; place++) {
    const tier = riskTiers[place]
    for (const tag of declared) if (tier?.tags.has(tag) === true) return tier.tier
    for (const tag of derived) if (tier?.tags.has(tag) === true) return tier.tier
  }
  return undefined
}
