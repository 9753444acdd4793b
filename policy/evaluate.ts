import { meetConstraints, type Constraints } from './constraints.ts'
import { canonicalJson, shortHash } from './digest.ts'
import type { Job } from './job.ts'
import { ruleMatches } from './match.ts'
import type { Policy, Rule, Throttle } from './rule.ts'

export type { Throttle } from './rule.ts'

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

/** Everything impure that a decision depends on. `granted` are throttle rules whose limit has given this job a slot. */
export type Facts = { readonly nowMs: number; readonly granted: readonly string[] }

/** What a person must agree to. `id` is a hash of the rules and their terms: the same requirement has the same id. */
export type ApprovalRequirement = {
  readonly id: string
  readonly rules: readonly string[]
  readonly expiresInMs: number
}

/** A decision with the obligations behind it. `throttles` is non-empty exactly when the type is THROTTLE. */
export type Evaluation = {
  readonly decision: Decision
  readonly throttles: readonly Throttle[]
  readonly approval: ApprovalRequirement | null
  readonly tags: { readonly declared: readonly string[]; readonly derived: readonly string[] }
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

const noMatchReason = 'No rule matches this job, and what no rule allows is denied.'

/**
 * Decides one job: all matching rules count, the most restrictive wins, and no obligation is lost. Pure: the same policy,
 * job and facts give the same evaluation, byte for byte, on any machine.
 */
export function evaluate(policy: Policy, job: Job, facts: Facts): Evaluation {
  const tags = new Set(job.riskTags)
  const matching = policy.rules.filter((rule) => ruleMatches(rule, job, tags))
  const declared = job.riskTags
  return { ...merge(policy, matching, facts, tierOf(policy, tags)), tags: { declared, derived: [] } }
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

function tierOf(policy: Policy, tags: ReadonlySet<string>): { risk_tier?: string } {
  for (const { tier, tags: ofTier } of policy.riskTiers) {
    for (const tag of tags) if (ofTier.has(tag)) return { risk_tier: tier }
  }
  return {}
}

/** `matching` is in byte order of the ids, so the first rule of an outcome is the one to name. */
function merge(
  policy: Policy,
  matching: readonly Rule[],
  facts: Facts,
  tier: { risk_tier?: string },
): Omit<Evaluation, 'tags'> {
  const matched = matching.map((rule) => rule.id)
  const decide = (type: DecisionType, rule: Rule, constraints: Constraints | null): Decision => ({
    type,
    rule_id: rule.id,
    reason: rule.reason,
    policy_snapshot: policy.snapshot,
    constraints,
    matched,
    ...tier,
  })

  const denying = matching.find((rule) => rule.decision === 'deny')
  if (denying !== undefined) return { decision: decide('DENY', denying, null), throttles: [], approval: null }

  const first = matching[0]
  if (first === undefined) {
    const decision = builtinDecision('DENY', 'sluice.no-match', noMatchReason, policy.snapshot)
    return { decision: { ...decision, ...tier }, throttles: [], approval: null }
  }

  const constraints = meetAll(matching)
  const approving = matching.filter((rule) => rule.decision === 'require_approval')
  const approval = approving.length > 0 ? requirement(approving) : null
  const waiting = matching.filter((rule) => rule.throttle !== null && !facts.granted.includes(rule.id))
  if (waiting[0] !== undefined) {
    const throttles = waiting.flatMap((rule) => rule.throttle ?? [])
    return { decision: decide('THROTTLE', waiting[0], constraints), throttles, approval }
  }
  if (approving[0] !== undefined) {
    return { decision: decide('REQUIRE_APPROVAL', approving[0], constraints), throttles: [], approval }
  }
  const constraining = matching.find((rule) => rule.constraints !== null)
  if (constraining !== undefined) {
    return { decision: decide('ALLOW_WITH_CONSTRAINTS', constraining, constraints), throttles: [], approval }
  }
  return { decision: decide('ALLOW', first, null), throttles: [], approval }
}

function meetAll(matching: readonly Rule[]): Constraints | null {
  const met = matching.reduce<Constraints | null>((so, rule) => meetConstraints(so, rule.constraints), null)
  return met === null ? null : withBoundedRetries(met)
}

/** All attempts of a job together may take an hour at most, because its payload is kept no longer than that can need. */
export const attemptsTotalSecMax = 3_600

/** Two rules may each be within the hour and exceed it together; the retries give way, since the runtime is one attempt's need. */
function withBoundedRetries(constraints: Constraints): Constraints {
  const { max_runtime_sec: runtimeSec, max_retries: retries } = constraints
  if (runtimeSec === undefined || retries === undefined) return constraints
  const retriesMax = Math.floor(attemptsTotalSecMax / runtimeSec) - 1
  return retries > retriesMax ? { ...constraints, max_retries: retriesMax } : constraints
}

function requirement(rules: readonly Rule[]): ApprovalRequirement {
  const terms = rules.map((rule) => ({ rule: rule.id, approval: rule.approval }))
  const expiresInMs = Math.min(...rules.map((rule) => rule.approval?.expiresInMs ?? approvalExpiresInMs))
  return { id: shortHash(canonicalJson(terms)), rules: rules.map((rule) => rule.id), expiresInMs }
}

const approvalExpiresInMs = 3_600_000
