import { meetConstraints } from './constraints.ts'
import { canonicalJson } from './digest.ts'
import type { DecisionType, Evaluation } from './evaluate.ts'
import { approvalLevels } from './merge-approval.ts'
import type { DecisionWord, ThrottleTerms } from './rule.ts'

/** The rank of outcomes: the higher wins. */
export const severityOf: Readonly<Record<DecisionType, number>> = {
  ALLOW: 0,
  ALLOW_WITH_CONSTRAINTS: 1,
  THROTTLE: 2,
  REQUIRE_APPROVAL: 3,
  DENY: 4,
}

/** The outcome that a rule asks for. */
export const outcomeOf: Readonly<Record<DecisionWord, DecisionType>> = {
  allow: 'ALLOW',
  deny: 'DENY',
  require_approval: 'REQUIRE_APPROVAL',
  throttle: 'THROTTLE',
  allow_with_constraints: 'ALLOW_WITH_CONSTRAINTS',
}

/** In what respect the second evaluation of a job asks for less than the first; undefined if it asks for at least as much. */
export function looserIn(before: Evaluation, after: Evaluation): string | undefined {
  if (after.decision.type === 'DENY') return undefined
  if (before.decision.type === 'DENY') return `denied before, now ${after.decision.type}`
  const lost = before.throttles.find(
    (limit) => !after.throttles.some((other) => isAtLeastAsTight(other, limit)),
  )
  if (lost !== undefined) return `the limit ${lost.ruleId} is gone or wider`
  if (before.approval !== null) {
    if (after.approval === null) return 'no approval is needed any more'
    const demands = new Set(after.approval.demands.map(({ thresholds }) => canonicalJson(thresholds)))
    const fewer = before.approval.demands.find(({ thresholds }) => !demands.has(canonicalJson(thresholds)))
    if (fewer !== undefined) return `the approval that ${fewer.rule} asks for is another`
    const { exclude, expiresInMs, useWithinMs, waitAtLeastMs, level } = after.approval
    if (expiresInMs > before.approval.expiresInMs) return 'an approval may take longer'
    if (useWithinMs > before.approval.useWithinMs) return 'an approval may be used for longer'
    if (before.approval.exclude.some((who) => !exclude.includes(who))) return 'more persons may approve'
    if (waitAtLeastMs < before.approval.waitAtLeastMs) return 'an approval may come earlier'
    if (approvalLevels.indexOf(level) < approvalLevels.indexOf(before.approval.level))
      return `an approval of level ${before.approval.level} is one of level ${level} now`
  }
  const { constraints } = before.decision
  const both = meetConstraints(constraints, after.decision.constraints)
  if (canonicalJson(both) !== canonicalJson(after.decision.constraints))
    return 'a constraint is gone or wider'
  const output = after.output
  const kept = new Set([...(output?.quarantine ?? []), ...(output?.redact ?? [])])
  if (before.output?.quarantine.some((name) => !output?.quarantine.includes(name)) === true)
    return 'less output is kept back'
  return before.output?.redact.some((name) => !kept.has(name)) === true
    ? 'less output is redacted'
    : undefined
}

function isAtLeastAsTight(tight: ThrottleTerms, limit: ThrottleTerms): boolean {
  return (
    tight.rate <= limit.rate &&
    tight.perMs >= limit.perMs &&
    tight.burst <= limit.burst &&
    tight.maxWaitMs <= limit.maxWaitMs &&
    // Fewer parts count more jobs together.
    tight.keyedBy.every((part) => limit.keyedBy.includes(part))
  )
}

/** What of an evaluation others can notice: the decision without its snapshot, and the obligations behind it. */
export function noticeable({ decision, throttles, approval, output }: Evaluation): string {
  const { policy_snapshot: _snapshot, matched: _matched, ...rest } = decision
  return canonicalJson({ ...rest, throttles, approval, output })
}
