import { compileCondition, normalList } from './compile-condition.ts'
import { normalConstraints, type Constraints } from './constraints.ts'
import { parseDurationMs } from './duration.ts'
import type {
  ApprovalTerms,
  Condition,
  DecisionWord,
  OutputTerms,
  Rule,
  Threshold,
  ThrottleKeyPart,
  ThrottleTerms,
} from './rule.ts'
import type { RuleFile } from './schema.ts'

/** What a policy leaves unsaid. */
const defaults = { expiresIn: '1h', useWithin: '15m', maxWait: '5m' } as const

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

function compileApproval(written: NonNullable<RuleFile['approval']>): ApprovalTerms {
  return {
    expiresInMs: durationMs(written.expires_in ?? defaults.expiresIn),
    useWithinMs: durationMs(written.use_within ?? defaults.useWithin),
    // Nobody approves an own job, whatever the file says or forgets.
    exclude: normalList(['submitter', ...(written.exclude ?? [])]),
    thresholds: (written.thresholds ?? [{ approve: 1 }]).map(compileThreshold),
  }
}

function compileThreshold(written: {
  name?: string | undefined
  from?: unknown
  approve: number
  deny?: number | undefined
}): Threshold {
  const from = Object.entries(
    (written.from ?? {}) as Partial<Record<'groups' | 'roles' | 'persons', readonly string[]>>,
  )[0]
  return {
    ...(written.name === undefined ? {} : { name: written.name }),
    from:
      from === undefined
        ? { kind: 'anyone', names: [] }
        : { kind: from[0] as Threshold['from']['kind'], names: normalList(from[1]) },
    approve: written.approve,
    deny: written.deny ?? 1,
  }
}

function compileOutput(written: NonNullable<RuleFile['output']>): OutputTerms {
  return { quarantine: normalList(written.quarantine ?? []), redact: normalList(written.redact ?? []) }
}

function durationMs(text: string): number {
  const ms = parseDurationMs(text)
  if (ms === undefined) throw new Error(`a duration passed the schema and is none: ${text}`)
  return ms
}

/** A key that stands in the file without a value never gets this far; this only tells the compiler so. */
function present(written: NonNullable<RuleFile['constraints']>): Constraints {
  return written as Constraints
}
