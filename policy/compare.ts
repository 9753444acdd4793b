import { canonicalJson } from './digest.ts'
import { evaluate, type DecisionType, type Evaluation } from './evaluate.ts'
import { coverFormula, formulaHolds, not, taggedFormula, type Formula } from './formula.ts'
import { mayMeet } from './overlap.ts'
import type { Condition, Cover, Policy, Rule } from './rule.ts'
import { sceneOf } from './scene.ts'
import { looserIn, noticeable } from './severity.ts'
import { findJob, type Sample } from './witness.ts'

/** Jobs that two policies decide differently; the witness is one of them and was put to both. */
export type Difference = {
  readonly before: Outcome
  readonly after: Outcome
  /** Why the second policy asks for less of the witness; absent where it asks for at least as much. */
  readonly looser?: string
  readonly witness: Record<string, unknown>
}

export type Outcome = { readonly type: DecisionType; readonly rule_id: string }

/** `complete` is false when the search gave up before it had seen everything: then an empty list proves nothing. */
export type Comparison = { readonly differences: readonly Difference[]; readonly complete: boolean }

/** Kinds of jobs that are looked at in one comparison; what takes more is said to be incomplete. */
const stepsMax = 6_000

type Walk = {
  readonly before: Policy
  readonly after: Policy
  readonly onlyLooser: boolean
  readonly found: Map<string, Difference>
  steps: number
  complete: boolean
}

/**
 * Where two policies differ. A job that no changed rule, derivation or tier is about is decided the same by both, so only the
 * others are looked at: of those, every combination of rules that can match one job together.
 */
export function comparePolicies(before: Policy, after: Policy, onlyLooser = false): Comparison {
  const walk: Walk = { before, after, onlyLooser, found: new Map(), steps: stepsMax, complete: true }
  const sameTags = canonicalJson(before.derivations) === canonicalJson(after.derivations)
  for (const seed of seeds(before, after)) {
    const rules = rulesBeside(walk, seed.match, sameTags)
    explore(walk, [seed.formula], rules, undefined)
  }
  return { differences: [...walk.found.values()], complete: walk.complete }
}

type Seed = { readonly formula: Formula; readonly match: Condition }

/** What changed: every difference between the policies is about a job that one of these covers. */
function seeds(before: Policy, after: Policy): readonly Seed[] {
  const changed = (from: Policy, to: Policy): Seed[] => {
    const rules = new Set(to.rules.map(meaningOf))
    const derivations = new Set(to.derivations.map((one) => canonicalJson(one)))
    return [
      ...from.rules.filter((rule) => !rules.has(meaningOf(rule))).map((rule) => seedOf(rule, from)),
      ...from.derivations
        .filter((one) => !derivations.has(canonicalJson(one)))
        .map((one) => seedOf(one, { ...from, derivations: [] })),
      ...tierSeeds(from, to),
    ]
  }
  return [...changed(before, after), ...changed(after, before)]
}

function seedOf(cover: Cover, { derivations }: Pick<Policy, 'derivations'>): Seed {
  return { formula: coverFormula(cover, derivations), match: cover.match }
}

function tierSeeds(from: Policy, to: Policy): Seed[] {
  const tiersOf = (policy: Policy): string[] =>
    policy.riskTiers.flatMap(({ tier, tags }) => [...tags].map((tag) => `${tier} ${tag}`))
  const others = new Set(tiersOf(to))
  return tiersOf(from)
    .filter((entry) => !others.has(entry))
    .map((entry) => ({
      formula: taggedFormula(entry.slice(entry.indexOf(' ') + 1), from.derivations),
      match: {},
    }))
}

function meaningOf(rule: Rule): string {
  const { description: _description, owner: _owner, ...meaning } = rule
  return canonicalJson(meaning)
}

/** A rule of one policy or of both, and when it covers a job there. */
type Beside = {
  readonly formula: Formula
  readonly denies: { readonly before: boolean; readonly after: boolean }
}

function rulesBeside({ before, after }: Walk, match: Condition, sameTags: boolean): readonly Beside[] {
  const beside = new Map<string, { formula: Formula; denies: { before: boolean; after: boolean } }>()
  for (const [side, policy] of [
    ['before', before],
    ['after', after],
  ] as const) {
    for (const rule of policy.rules) {
      if (!mayMeet(rule.match, match)) continue
      const key = sameTags ? canonicalJson([rule.match, rule.unless, rule.decision]) : `${side} ${rule.id}`
      const known = beside.get(key) ?? {
        formula: coverFormula(rule, policy.derivations),
        denies: { before: false, after: false },
      }
      if (rule.decision === 'deny') known.denies[side] = true
      beside.set(key, known)
    }
  }
  // Denials first: where both deny, nothing else can matter.
  return [...beside.values()].toSorted((a, b) => denials(b) - denials(a))
}

function denials({ denies }: Beside): number {
  return Number(denies.before) + Number(denies.after)
}

/** Looks at one job of every combination of the rules, and at each whether the policies agree about it. */
function explore(
  walk: Walk,
  assumed: readonly Formula[],
  rules: readonly Beside[],
  known: Sample | undefined,
): void {
  if (walk.steps-- <= 0) {
    walk.complete = false
    return
  }
  const sample = known ?? sampleFor(walk, assumed)
  if (sample === undefined) return
  look(walk, sample)
  if (walk.onlyLooser && walk.found.size > 0) return
  const [rule, ...rest] = rules
  if (rule === undefined) return
  const holds = formulaHolds(rule.formula, sample.job, sample.nowMs)
  const settled = rule.denies.after && (rule.denies.before || walk.onlyLooser)
  if (!settled) explore(walk, [...assumed, rule.formula], rest, holds ? sample : undefined)
  else if (!holds) {
    const denied = sampleFor(walk, [...assumed, rule.formula])
    if (denied !== undefined) look(walk, denied)
  }
  explore(walk, [...assumed, not(rule.formula)], rest, holds ? undefined : sample)
}

function sampleFor(walk: Walk, assumed: readonly Formula[]): Sample | undefined {
  const found = findJob(assumed)
  if (found.type === 'undecided') walk.complete = false
  return found.type === 'found' ? found.sample : undefined
}

function look({ before, after, found, onlyLooser }: Walk, sample: Sample): void {
  const { job, nowMs } = sample
  const was = evaluate(before, job, { nowMs, granted: [] })
  const is = evaluate(after, job, { nowMs, granted: [] })
  if (noticeable(was) === noticeable(is)) return
  const looser = looserIn(was, is)
  if (onlyLooser && looser === undefined) return
  const difference: Difference = {
    before: outcome(was),
    after: outcome(is),
    ...(looser === undefined ? {} : { looser }),
    witness: sceneOf(sample),
  }
  const key = canonicalJson([difference.before, difference.after, looser ?? null])
  if (!found.has(key)) found.set(key, difference)
}

function outcome({ decision: { type, rule_id } }: Evaluation): Outcome {
  return { type, rule_id }
}
