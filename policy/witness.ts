import { formulaHolds, type Formula, type Literal } from './formula.ts'
import { parseJob } from './job.ts'
import { bodyOf, sampleOf, type Assumed, type Sample } from './partial-job.ts'

export type { Sample } from './partial-job.ts'

/** A job for which a formula holds, the certainty that there is none, or neither within the steps that were allowed. */
export type Witness =
  | { readonly type: 'found'; readonly sample: Sample }
  | { readonly type: 'none' }
  | { readonly type: 'undecided' }

/** Steps of a search; what takes more is said to be undecided. */
export type Budget = { steps: number }

const stepsMax = 2_000

/**
 * Looks for a job for which all formulas hold. Assumes one alternative after the other, makes a job of what is assumed, and asks
 * the job itself what is still missing: most alternatives are true of it by chance and need no looking at.
 */
export function findJob(formulas: readonly Formula[], budget: Budget = { steps: stepsMax }): Witness {
  return search([], { all: formulas }, [], budget)
}

function search(assumed: Assumed, more: Formula, open: readonly Alternatives[], budget: Budget): Witness {
  if (budget.steps-- <= 0) return { type: 'undecided' }
  const literals: Literal[] = []
  const alternatives: Alternatives[] = [...open]
  flatten(more, literals, alternatives)
  const all = literals.length === 0 ? assumed : [...assumed, ...literals]
  const sample = sampleOf(all)
  if (sample === 'none') return { type: 'none' }
  if (sample === 'unsure') return { type: 'undecided' }
  let next: Alternatives | undefined
  for (const one of alternatives) {
    if (next !== undefined && next.length <= one.length) continue
    if (!one.some((part) => formulaHolds(part, sample.job, sample.nowMs))) next = one
  }
  // A job beyond what a gateway takes (too many labels, too long) shows nothing, and a smaller one may exist.
  if (next === undefined) return isAcceptable(sample) ? { type: 'found', sample } : { type: 'undecided' }
  const rest = alternatives.filter((one) => one !== next)
  let undecided = false
  for (const part of next) {
    const found = search(all, part, rest, budget)
    if (found.type === 'found') return found
    if (found.type === 'undecided') undecided = true
  }
  return { type: undecided ? 'undecided' : 'none' }
}

function isAcceptable({ job }: Sample): boolean {
  return parseJob(
    { tenant: job.tenant, agent: job.agent },
    job.topic,
    Buffer.from(JSON.stringify(bodyOf(job))),
  ).ok
}

type Alternatives = readonly Formula[]

/** What must hold by itself, and what leaves a choice. A list of topic patterns is a choice between them. */
function flatten(formula: Formula, literals: Literal[], alternatives: Alternatives[]): void {
  if ('all' in formula) for (const part of formula.all) flatten(part, literals, alternatives)
  else if ('any' in formula) {
    const [only] = formula.any
    if (only !== undefined && formula.any.length === 1) flatten(only, literals, alternatives)
    else alternatives.push(formula.any)
  } else if (formula.of === 'topic' && formula.holds && formula.patterns.length > 1) {
    alternatives.push(formula.patterns.map((pattern) => ({ ...formula, patterns: [pattern] })))
  } else literals.push(formula)
}
