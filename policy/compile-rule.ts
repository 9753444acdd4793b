import { compileApproval } from './compile-approval.ts'
import { compileCondition, normalList } from './compile-condition.ts'
import { normalConstraints, type Constraints } from './constraints.ts'
import { durationMs } from './duration.ts'
import type { Condition, DecisionWord, OutputTerms, Rule, ThrottleKeyPart, ThrottleTerms } from './rule.ts'
import type { RuleFile } from './schema.ts'

/** What a policy leaves unsaid. */
const defaults = { maxWait: '5m' } as const

/** A rule as written, complete. Rules of an overlay count only for the overlay's tenants. */
export function compileRule(written: RuleFile, overlayTenants: readonly string[] | null): Rule {
  const { id, decision, description, owner, unless, constraints, throttle, output } = written
  return {
    id,
    decision,
    reason: written.reason ?? defaultReason(decision, id),
    ...(description === undefined ? {} : { description }),
    ...(owner === undefined ? {} : { owner }),
    floor: written.floor ?? false,
    overlay: overlayTenants !== null,
    match: withinTenants(compileCondition(written.match), overlayTenants),
    unless: unless === undefined ? null : compileCondition(unless),
    constraints: constraints === undefined ? null : normalConstraints(present(constraints)),
    throttle: throttle === undefined ? null : compileThrottle(id, throttle),
    approval: decision === 'require_approval' ? compileApproval(written.approval ?? {}) : null,
    output: output === undefined ? null : compileOutput(output),
  }
}

function withinTenants(match: Condition, tenants: readonly string[] | null): Condition {
  if (tenants === null) return match
  return { ...match, tenants: normalList(match.tenants ?? tenants) }
}

function defaultReason(decision: DecisionWord, id: string): string {
  switch (decision) {
    case 'allow':
      return `Rule ${id} allows this job.`
    case 'deny':
      return `Rule ${id} denies this job.`
    case 'require_approval':
      return `Rule ${id} asks for a person's approval of this job.`
    case 'throttle':
      return `Rule ${id} limits the rate of such jobs.`
    case 'allow_with_constraints':
      return `Rule ${id} allows this job within constraints.`
  }
}

function compileThrottle(ruleId: string, written: NonNullable<RuleFile['throttle']>): ThrottleTerms {
  const { rate, per, burst, key, on_limit: onLimit, max_wait: maxWait } = written
  return {
    ruleId,
    rate,
    perMs: durationMs(per),
    burst: burst ?? rate,
    maxWaitMs: onLimit === 'deny' ? 0 : durationMs(maxWait ?? defaults.maxWait),
    onLimit: onLimit ?? 'wait',
    keyedBy: normalList((key ?? []) as readonly ThrottleKeyPart[]),
  }
}

function compileOutput(written: NonNullable<RuleFile['output']>): OutputTerms {
  return { quarantine: normalList(written.quarantine ?? []), redact: normalList(written.redact ?? []) }
}

/** A key that stands in the file without a value never gets this far; this only tells the compiler so. */
function present(written: NonNullable<RuleFile['constraints']>): Constraints {
  return written as Constraints
}
