import { builtinDecision, evaluate, type Decision, type Evaluation } from './evaluate.ts'
import type { Job, Refusal } from './job.ts'
import { nearMisses, type NearMiss } from './near-miss.ts'
import type { Policy, Rule } from './rule.ts'

/** Why a job is decided as it is: the rules that matched, the one that decided, and the ones that came close. */
export type Explanation = Decision & {
  readonly decision: Decision
  readonly near_misses: readonly NearMiss[]
  readonly risk_tags: { readonly declared: readonly string[]; readonly derived: readonly string[] }
  readonly matched_rules: readonly MatchedRule[]
  readonly approval: Evaluation['approval']
  readonly throttles: Evaluation['throttles']
  readonly output: Evaluation['output']
  readonly rules: number
}

export type MatchedRule = Pick<Rule, 'id' | 'reason' | 'constraints' | 'floor' | 'overlay'> & {
  readonly decision: Rule['decision']
  readonly description?: string
  readonly owner?: string
}

/** No limit is asked for a slot, so a rule that throttles says THROTTLE here even while its limit has room. */
export function explain(policy: Policy, job: Job, nowMs: number): Explanation {
  const { decision, tags, approval, throttles, output } = evaluate(policy, job, { nowMs, granted: [] })
  return {
    ...decision,
    decision,
    near_misses: nearMisses(policy, job, nowMs),
    risk_tags: tags,
    matched_rules: matchedRules(policy, decision),
    approval,
    throttles,
    output,
    rules: policy.ruleCount,
  }
}

/** What becomes of a body that is no job: no rule is asked. */
export function explainRefusal(policy: Policy, { ruleId, reason }: Refusal): Explanation {
  const decision = builtinDecision('DENY', ruleId, reason, policy.snapshot)
  return {
    ...decision,
    decision,
    near_misses: [],
    risk_tags: { declared: [], derived: [] },
    matched_rules: [],
    approval: null,
    throttles: [],
    output: null,
    rules: policy.ruleCount,
  }
}

function matchedRules(policy: Policy, decision: Decision): readonly MatchedRule[] {
  const matched = new Set(decision.matched)
  return policy.rules
    .filter(({ id }) => matched.has(id))
    .map(({ id, decision: word, reason, constraints, floor, overlay, description, owner }) => ({
      id,
      decision: word,
      reason,
      constraints,
      floor,
      overlay,
      ...(description === undefined ? {} : { description }),
      ...(owner === undefined ? {} : { owner }),
    }))
}
