import { attemptsTotalSecMax, meetConstraints, type Constraints } from './constraints.ts'
import { mergedApproval, type ApprovalRequirement } from './merge-approval.ts'
import { absent, PairTable } from './pair-table.ts'
import type { Decision } from './evaluate.ts'
import type { OutputTerms, Rule } from './rule.ts'

/** Matching rules by what they want, each list in byte order of the ids, so that the first of a list is the one to name. */
type Sorted = {
  readonly matched: readonly string[]
  readonly first: Rule | null
  readonly denying: Rule | null
  /** False if only rules that may not grant anything match. */
  readonly granted: boolean
  readonly throttling: readonly Rule[]
  readonly approving: readonly Rule[]
  readonly constraining: readonly Rule[]
  readonly outputting: readonly Rule[]
}

const noRules: readonly Rule[] = []

/** Sorts out what a set of matching rules wants. `numbers` are ascending places in `rules`, which are sorted by id. */
function sortRules(rules: readonly Rule[], numbers: readonly number[]): Sorted {
  const matched: string[] = []
  let denying: Rule | null = null
  let granted = false
  let throttling: Rule[] | undefined
  let approving: Rule[] | undefined
  let constraining: Rule[] | undefined
  let output: Rule[] | undefined
  for (let index = 0; index < numbers.length; index++) {
    const rule = rules[numbers[index] ?? 0]
    if (rule === undefined) continue
    matched.push(rule.id)
    if (!rule.overlay) granted = true
    if (rule.decision === 'deny') denying ??= rule
    if (rule.throttle !== null) (throttling ??= []).push(rule)
    if (rule.approval !== null) (approving ??= []).push(rule)
    if (rule.constraints !== null) (constraining ??= []).push(rule)
    if (rule.output !== null) (output ??= []).push(rule)
  }
  return {
    matched,
    first: rules[numbers[0] ?? -1] ?? null,
    denying,
    granted,
    throttling: throttling ?? noRules,
    approving: approving ?? noRules,
    constraining: constraining ?? noRules,
    outputting: output ?? noRules,
  }
}

/** What all of the rules' constraints come to. */
function mergedConstraints(constraining: readonly Rule[]): Constraints | null {
  const met = constraining.reduce<Constraints | null>(
    (so, rule) => meetConstraints(so, rule.constraints),
    null,
  )
  return met === null ? null : withBoundedRetries(met)
}

/** Two rules may each be within the hour and exceed it together; the retries give way, since the runtime is one attempt's need. */
function withBoundedRetries(constraints: Constraints): Constraints {
  const { max_runtime_sec: runtimeSec, max_retries: retries } = constraints
  if (runtimeSec === undefined || retries === undefined) return constraints
  const retriesMax = Math.floor(attemptsTotalSecMax / runtimeSec) - 1
  return retries > retriesMax ? { ...constraints, max_retries: retriesMax } : constraints
}

/** What all of the rules' output blocks come to. */
function mergedOutput(rules: readonly Rule[]): OutputTerms | null {
  const terms = rules.flatMap((rule) => rule.output ?? [])
  if (terms.length === 0) return null
  const quarantine = new Set(terms.flatMap((term) => term.quarantine))
  const redact = new Set(terms.flatMap((term) => term.redact).filter((name) => !quarantine.has(name)))
  return { quarantine: [...quarantine].toSorted(), redact: [...redact].toSorted() }
}

/** What a set of matching rules comes to, whoever sent the job. */
export type Merged = Sorted & {
  /** Null also where the rules deny: then nothing runs within anything. */
  readonly constraints: Constraints | null
  readonly approval: ApprovalRequirement | null
  readonly output: OutputTerms | null
  /** Room for what the evaluator decides for every job that these rules match, when nothing else counts. */
  readonly settled: { decision?: Decision }
}

/** Rule sets that are remembered, and the steps of all ways to them. */
const memoMax = 4_096
const placesMax = 65_536

/**
 * Remembers what a function makes of a list of rules: jobs are many, but the sets of rules that they match are few. One rule
 * alone is remembered with the rule, a set by its ids, and when there are too many sets all are forgotten.
 */
class RulesMemo<Made> {
  private readonly make: (rules: readonly Rule[]) => Made
  private readonly sizeMax: number
  private readonly alone = new WeakMap<Rule, Made>()
  private readonly together = new Map<string, Made>()

  /** With `sizeMax` 0 only what single rules come to is remembered. */
  constructor(make: (rules: readonly Rule[]) => Made, sizeMax = memoMax) {
    this.make = make
    this.sizeMax = sizeMax
  }

  of(rules: readonly Rule[]): Made {
    const [first] = rules
    if (first === undefined || rules.length > 1) return this.ofSet(rules)
    const known = this.alone.get(first)
    if (known !== undefined) return known
    const made = this.make(rules)
    this.alone.set(first, made)
    return made
  }

  private ofSet(rules: readonly Rule[]): Made {
    let key = ''
    // No id has a space, so two different sets never share a key.
    for (const rule of rules) key += `${rule.id} `
    const known = this.together.get(key)
    if (known !== undefined) return known
    const made = this.make(rules)
    if (this.together.size >= this.sizeMax) this.together.clear()
    if (this.sizeMax > 0) this.together.set(key, made)
    return made
  }
}

/**
 * Remembers what sets of a policy's rules come to: jobs are many, but the sets of rules that they match are few. A set is a way
 * through a tree of rule numbers, so nothing has to be written down to find it. When the tree is full, further sets are worked
 * out each time; if that happens too often, all is forgotten and begins anew.
 */
export class Merges {
  private readonly placesMax: number
  private edges = new PairTable()
  private known: (Merged | undefined)[] = [undefined]
  private missed = 0
  private readonly constraints: RulesMemo<Constraints | null>
  private readonly approval: RulesMemo<ApprovalRequirement | null>

  /** With 0 nothing is remembered of sets. */
  constructor(places = placesMax) {
    this.placesMax = places
    this.constraints = new RulesMemo(mergedConstraints, Math.min(places, memoMax))
    this.approval = new RulesMemo(mergedApproval, Math.min(places, memoMax))
  }

  /** `numbers` are ascending places in `rules`, which are always those of the same policy. */
  of(rules: readonly Rule[], numbers: readonly number[]): Merged {
    let place = 0
    for (let at = 0; at < numbers.length; at++) {
      const number = numbers[at] ?? 0
      const next = this.edges.get(place, number)
      place = next === absent ? this.add(place, number) : next
      if (place === absent) return this.merged(rules, numbers)
    }
    if (this.placesMax === 0) return this.merged(rules, numbers)
    return (this.known[place] ??= this.merged(rules, numbers))
  }

  private add(place: number, number: number): number {
    if (this.known.length <= this.placesMax) {
      const made = this.known.push(undefined) - 1
      this.edges.set(place, number, made)
      return made
    }
    if (++this.missed > this.placesMax) {
      this.missed = 0
      this.edges = new PairTable()
      this.known = [undefined]
    }
    return absent
  }

  private merged(rules: readonly Rule[], numbers: readonly number[]): Merged {
    const sorted = sortRules(rules, numbers)
    const { denying, granted, constraining, approving, outputting } = sorted
    // What is denied runs within nothing and waits for nobody.
    const runs = denying === null && granted
    return {
      ...sorted,
      constraints: runs && constraining.length > 0 ? this.constraints.of(constraining) : null,
      approval: runs && approving.length > 0 ? this.approval.of(approving) : null,
      output: runs && outputting.length > 0 ? mergedOutput(outputting) : null,
      settled: {},
    }
  }
}
