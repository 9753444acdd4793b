import { evaluate } from './evaluate.ts'
import { clausesOf, coverFormula, not } from './formula.ts'
import { lintEscalations } from './lint-escalations.ts'
import { lintTags } from './lint-tags.ts'
import { overlapping } from './overlap.ts'
import type { Policy, Rule } from './rule.ts'
import { sceneOf } from './scene.ts'
import { outcomeOf, severityOf } from './severity.ts'
import { formulaOf, type Looking, type Warning } from './warning.ts'
import { findJob, type Sample } from './witness.ts'

/** `undecided` are the questions that were too large to answer: never an all-clear. */
export type Lint = { readonly warnings: readonly Warning[]; readonly undecided: readonly string[] }

/** Searches in one run at most; a larger policy is told what was left out. */
const searchesMax = 20_000

/** Looks for rules that cannot have been meant as they stand. Exact for this language, and where it gives up it says so. */
export function lintPolicy(policy: Policy, searches: number = searchesMax): Lint {
  let left = searches
  const looking: Looking = {
    policy,
    formulas: new Map(policy.rules.map((rule) => [rule.id, coverFormula(rule, policy.derivations)])),
    warnings: [],
    undecided: [],
    search: (formulas) => (left-- > 0 ? findJob(formulas) : undefined),
  }
  const matching = policy.rules.filter((rule) => canMatch(looking, rule))
  const pairs = overlapping(matching)
  const notCovered = matching.filter((rule) => !isCovered(looking, rule, pairs(rule)))
  for (const rule of notCovered) lintOverlaps(looking, rule, pairs(rule))
  lintTags(looking, notCovered, pairs)
  lintEscalations(looking)
  if (left < 0) looking.undecided.push(`${-left} more questions, because the policy is large`)
  return { warnings: looking.warnings, undecided: looking.undecided }
}

function canMatch(looking: Looking, rule: Rule): boolean {
  const found = looking.search([formulaOf(looking, rule)])
  if (found?.type !== 'none') {
    if (found?.type === 'undecided') looking.undecided.push(`whether ${rule.id} can match`)
    return true
  }
  const conflict = conflictOf(looking, rule)
  looking.warnings.push({
    code: 'never-matches',
    rule_id: rule.id,
    message: `can never match: no job satisfies ${conflict.join(' and ')}${conflict.length > 1 ? ' together' : ''}`,
    conflict,
  })
  return false
}

/** The fewest clauses that already exclude each other: those without which a job could be found. */
function conflictOf({ policy }: Looking, rule: Rule): readonly string[] {
  const { derivations } = policy
  let parts = clausesOf(rule.match, derivations).map(({ name, formula }) => ({
    name: `match.${name}`,
    formula,
  }))
  if (rule.unless !== null) {
    const excepted = coverFormula({ match: rule.unless, unless: null }, derivations)
    parts.push({ name: 'unless', formula: not(excepted) })
  }
  for (const part of [...parts]) {
    const others = parts.filter((other) => other !== part)
    if (findJob(others.map(({ formula }) => formula)).type === 'none') parts = others
  }
  return parts.map(({ name }) => name)
}

/** A rule that denials always go before, or that grants only what a stricter rule grants as well. */
function isCovered(looking: Looking, rule: Rule, others: readonly Rule[]): boolean {
  if (rule.decision === 'deny') return false
  const denials = others.filter((other) => other.decision === 'deny')
  if (coveredBy(looking, rule, denials, 'every job that it matches is denied')) return true
  if (rule.decision !== 'allow' || rule.output !== null) return false
  const granting = others.filter(
    (other) => !other.overlay && other.decision !== 'allow' && other.decision !== 'deny',
  )
  return coveredBy(looking, rule, granting, 'every job that it matches is decided by a stricter rule')
}

function coveredBy(looking: Looking, rule: Rule, stricter: readonly Rule[], what: string): boolean {
  if (stricter.length === 0) return false
  const outside = stricter.map((other) => not(formulaOf(looking, other)))
  const found = looking.search([formulaOf(looking, rule), ...outside])
  if (found === undefined || found.type === 'found') return false
  if (found.type === 'undecided') {
    looking.undecided.push(`whether ${rule.id} is covered by stricter rules`)
    return false
  }
  // One rule that covers it alone is a better answer than all of them together.
  const alone = stricter.find(
    (_, index) => findJob([formulaOf(looking, rule), outside[index] ?? { any: [] }]).type === 'none',
  )
  const names = alone === undefined ? stricter.map(({ id }) => id) : [alone.id]
  const shown = findJob([formulaOf(looking, rule)])
  const witness = shown.type === 'found' ? proven(looking, shown.sample, rule.id, names) : undefined
  looking.warnings.push({
    code: 'covered',
    rule_id: rule.id,
    message: `never decides: ${what} (${names.join(', ')})`,
    other_rule_ids: names,
    ...(witness === undefined ? {} : { witness }),
  })
  return true
}

/** The witness only if the evaluator agrees that both match it. */
function proven(
  { policy }: Looking,
  { job, nowMs }: Sample,
  ruleId: string,
  anyOf: readonly string[],
): Record<string, unknown> | undefined {
  const { matched } = evaluate(policy, job, { nowMs, granted: [] }).decision
  if (!matched.includes(ruleId) || !anyOf.some((id) => matched.includes(id))) return undefined
  return sceneOf({ job, nowMs })
}

/** Two rules that one job matches and that say different things: the stricter decides, which the author should know. */
function lintOverlaps(looking: Looking, rule: Rule, others: readonly Rule[]): void {
  for (const other of others) {
    // Each pair once, told at the rule that gives way.
    if (severityOf[outcomeOf[other.decision]] <= severityOf[outcomeOf[rule.decision]]) continue
    const found = looking.search([formulaOf(looking, rule), formulaOf(looking, other)])
    if (found === undefined || found.type === 'none') continue
    const witness = found.type === 'found' ? proven(looking, found.sample, rule.id, [other.id]) : undefined
    if (witness === undefined) {
      looking.undecided.push(`whether ${rule.id} and ${other.id} overlap`)
      continue
    }
    looking.warnings.push({
      code: 'overlap',
      rule_id: rule.id,
      message: `${rule.decision} overlaps ${other.decision} of ${other.id}, which decides where both match`,
      other_rule_ids: [other.id],
      witness,
    })
  }
}
