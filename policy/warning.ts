import type { Formula } from './formula.ts'
import type { Policy, Rule } from './rule.ts'
import type { Witness } from './witness.ts'

/**
 * Something about a policy that loads and may yet not be meant. `witness` is a job that shows it, in the form of a job file; it has
 * been put to the evaluator, so it is always true. Where there can be none, because a rule never matches, `conflict` names
 * the clauses that exclude each other.
 */
export type Warning = {
  readonly code: 'never-matches' | 'covered' | 'overlap' | 'missing-tag' | 'escalates-past'
  readonly rule_id: string
  readonly message: string
  readonly other_rule_ids?: readonly string[]
  readonly witness?: Record<string, unknown>
  readonly conflict?: readonly string[]
}

/** What one look at a policy shares. */
export type Looking = {
  readonly policy: Policy
  readonly formulas: ReadonlyMap<string, Formula>
  readonly warnings: Warning[]
  readonly undecided: string[]
  search(formulas: readonly Formula[]): Witness | undefined
}

/** When a rule covers a job. */
export function formulaOf(looking: Looking, rule: Rule): Formula {
  return looking.formulas.get(rule.id) ?? { any: [] }
}
