import { compileCondition, normalList } from './compile-condition.ts'
import { compileRule } from './compile-rule.ts'
import { canonicalJson, sha256Hex } from './digest.ts'
import { Merge } from './merge.ts'
import type { Derivation, Policy, RiskTier, Rule } from './rule.ts'
import { makeRuleIndex } from './rule-index.ts'
import type { PolicyFile } from './schema.ts'

/** All of a policy but what is made from it to be fast: plain data, which can be handed from one thread to another. */
export type PolicyParts = Omit<Policy, 'index' | 'merge'>

/** Checked files as one policy for the evaluator. */
export function compilePolicy(files: readonly PolicyFile[], sourceHash: string): Policy {
  const steps = assemblePolicy(compileParts(files, sourceHash))
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}

/** The policy of its parts. It comes in small steps, so that a thread with other things to do can do them in between. */
export function* assemblePolicy(parts: PolicyParts): Generator<undefined, Policy> {
  const index = yield* makeRuleIndex(parts.rules, parts.derivations)
  return { ...parts, index, merge: new Merge(parts.rules) }
}

/**
 * Checked files as one meaning. The snapshot is its hash: neither comments, nor the order of rules, lists or files, nor who
 * owns a rule changes it.
 */
export function compileParts(files: readonly PolicyFile[], sourceHash: string): PolicyParts {
  const rules = files
    .flatMap((file) => file.rules.map((rule) => compileRule(rule, file.overlay?.tenants ?? null)))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const derivations = compileDerivations(files)
  const riskTiers = compileTiers(files)
  const meaning = {
    version: 'v1',
    risk_tiers: riskTiers.map(({ tier, tags }) => ({ tier, tags: [...tags] })),
    tags: derivations,
    rules: rules.map(meaningOf),
  }
  return {
    snapshot: sha256Hex(canonicalJson(meaning)),
    sourceHash,
    ruleCount: rules.length,
    rules,
    derivations,
    riskTiers,
  }
}

/** Everything about a rule that can show in a decision; who owns it and how it is described cannot. */
function meaningOf(rule: Rule): unknown {
  const { description: _description, owner: _owner, ...meaning } = rule
  return meaning
}

/** Sorted by their own text, because derivations have no ids: their order in the file must not matter. */
function compileDerivations(files: readonly PolicyFile[]): readonly Derivation[] {
  return files
    .flatMap((file) => file.tags ?? [])
    .map((written): Derivation => ({
      add: normalList(written.add),
      match: compileCondition(written.match),
      unless: written.unless === undefined ? null : compileCondition(written.unless),
    }))
    .map((derivation) => ({ derivation, text: canonicalJson(derivation) }))
    .toSorted((a, b) => (a.text < b.text ? -1 : 1))
    .map(({ derivation }) => derivation)
}

const tierOrder = ['critical', 'high', 'medium', 'low'] as const

function compileTiers(files: readonly PolicyFile[]): readonly RiskTier[] {
  return tierOrder.flatMap((tier) => {
    const tags = normalList(files.flatMap((file) => file.risk_tiers?.[tier] ?? []))
    return tags.length === 0 ? [] : [{ tier, tags: new Set(tags) }]
  })
}
