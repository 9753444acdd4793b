import { normalConstraints } from './constraints.ts'
import { canonicalJson, sha256Hex } from './digest.ts'
import { parseDurationMs } from './duration.ts'
import type {
  ApprovalTerms,
  Condition,
  DecisionWord,
  Policy,
  RiskTier,
  Rule,
  TagCondition,
  Throttle,
} from './rule.ts'
import type { ConditionFile, PolicyFile, RuleFile } from './schema.ts'

const approvalExpiresIn = '1h'
const throttleMaxWait = '5m'

/** A checked file as the evaluator wants it. The snapshot is the hash of the meaning: not of comments, order or wording around it. */
export function compilePolicy(file: PolicyFile, text: string): Policy {
  const rules = file.rules.map(compileRule).toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const riskTiers = compileTiers(file)
  const meaning = {
    version: file.version,
    risk_tiers: riskTiers.map(({ tier, tags }) => ({ tier, tags: [...tags].toSorted() })),
    rules: rules.map(meaningOf),
  }
  return {
    snapshot: sha256Hex(canonicalJson(meaning)),
    sourceHash: sha256Hex(text),
    ruleCount: rules.length,
    rules,
    riskTiers,
  }
}

function compileRule(written: RuleFile): Rule {
  return {
    id: written.id,
    decision: written.decision,
    reason: written.reason ?? defaultReason(written.decision, written.id),
    ...(written.description === undefined ? {} : { description: written.description }),
    ...(written.owner === undefined ? {} : { owner: written.owner }),
    floor: written.floor ?? false,
    match: compileCondition(written.match),
    unless: written.unless === undefined ? null : compileCondition(written.unless),
    constraints:
      written.constraints === undefined
        ? null
        : normalConstraints(written.constraints as NonNullable<Rule['constraints']>),
    throttle: written.throttle === undefined ? null : compileThrottle(written.id, written.throttle),
    approval: written.decision === 'require_approval' ? compileApproval(written.approval) : null,
  }
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

function compileCondition(written: ConditionFile): Condition {
  const { topics, tenants, actors, capabilities, risk_tags: tags, labels } = written
  return {
    ...(topics === undefined ? {} : { topics: normalList(topics) }),
    ...(tenants === undefined ? {} : { tenants: normalList(tenants) }),
    ...(actors === undefined ? {} : { actors: normalList(actors) }),
    ...(capabilities === undefined ? {} : { capabilities: normalList(capabilities) }),
    ...(tags === undefined ? {} : { riskTags: compileTags(tags) }),
    ...(labels === undefined ? {} : { labels: new Map(Object.entries(labels)) }),
  }
}

function compileTags(written: NonNullable<ConditionFile['risk_tags']>): TagCondition {
  if (Array.isArray(written)) return written.length === 0 ? { empty: true } : { any: normalList(written) }
  return {
    ...(written.any === undefined ? {} : { any: normalList(written.any) }),
    ...(written.all === undefined ? {} : { all: normalList(written.all) }),
    ...(written.none === undefined ? {} : { none: normalList(written.none) }),
  }
}

function compileThrottle(ruleId: string, written: NonNullable<RuleFile['throttle']>): Throttle {
  return {
    ruleId,
    rate: written.rate,
    perMs: durationMs(written.per),
    maxWaitMs: durationMs(written.max_wait ?? throttleMaxWait),
  }
}

function compileApproval(written: RuleFile['approval']): ApprovalTerms {
  return { expiresInMs: durationMs(written?.expires_in ?? approvalExpiresIn) }
}

function durationMs(text: string): number {
  const ms = parseDurationMs(text)
  if (ms === undefined) throw new Error(`a duration passed the schema and is none: ${text}`)
  return ms
}

function normalList(list: readonly string[]): readonly string[] {
  return [...new Set(list)].toSorted()
}

const tierOrder = ['critical', 'high', 'medium', 'low'] as const

function compileTiers(file: PolicyFile): readonly RiskTier[] {
  return tierOrder.flatMap((tier) => {
    const tags = file.risk_tiers?.[tier]
    return tags === undefined ? [] : [{ tier, tags: new Set(tags) }]
  })
}

/** Everything about a rule that can show in a decision; who owns it and how it is described cannot. */
function meaningOf(rule: Rule): unknown {
  const { description: _description, owner: _owner, match, unless, ...rest } = rule
  return { ...rest, match: plainCondition(match), unless: unless === null ? null : plainCondition(unless) }
}

function plainCondition(condition: Condition): unknown {
  const { labels, ...rest } = condition
  return labels === undefined
    ? rest
    : { ...rest, labels: [...labels].toSorted(([a], [b]) => (a < b ? -1 : 1)) }
}
