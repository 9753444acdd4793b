import { attemptsTotalSecMax, meetConstraints, type Constraints } from './constraints.ts'
import { canonicalJson, shortHash } from './digest.ts'
import { absent, PairTable } from './pair-table.ts'
import type { Decision } from './evaluate.ts'
import type { Excluded, OutputTerms, Rule, Threshold } from './rule.ts'

/** What a person must agree to. `id` is a hash of the rules and their terms: the same requirement has the same id. */
export type ApprovalRequirement = {
  readonly id: string
  readonly rules: readonly string[]
  readonly expiresInMs: number
  readonly useWithinMs: number
  readonly exclude: readonly Excluded[]
  /** Every rule's thresholds must be reached, each by itself. */
  readonly demands: readonly { readonly rule: string; readonly thresholds: readonly Threshold[] }[]
}

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

/** What all of the rules' approvals come to. */
function mergedApproval(approving: readonly Rule[]): ApprovalRequirement | null {
  if (approving.length === 0) return null
  const terms = approving.flatMap((rule) =>
    rule.approval === null ? [] : [{ rule: rule.id, approval: rule.approval }],
  )
  return {
    id: shortHash(canonicalJson(terms)),
    rules: terms.map((term) => term.rule),
    expiresInMs: Math.min(...terms.map((term) => term.approval.expiresInMs)),
    useWithinMs: Math.min(...terms.map((term) => term.approval.useWithinMs)),
    exclude: [...new Set(terms.flatMap((term) => term.approval.exclude))].toSorted(),
    demands: terms.map(({ rule, approval }) => ({ rule, thresholds: approval.thresholds })),
  }
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

function mergedOf(rules: readonly Rule[], numbers: readonly number[]): Merged {
  const sorted = sortRules(rules, numbers)
  const { denying, granted, constraining, approving, outputting } = sorted
  if (denying !== null || !granted)
    return { ...sorted, constraints: null, approval: null, output: null, settled: {} }
  return {
    ...sorted,
    constraints: mergedConstraints(constraining),
    approval: mergedApproval(approving),
    output: mergedOutput(outputting),
    settled: {},
  }
}

const memoMax = 16_384

/**
 * Remembers what sets of a policy's rules come to: jobs are many, but the sets of rules that they match are few. A set is a way
 * through a tree of rule numbers, so nothing has to be written down to find it; when there are too many, all are forgotten.
 */
export class Merges {
  private readonly sizeMax: number
  private edges = new PairTable()
  private known: (Merged | undefined)[] = [undefined]

  /** With `sizeMax` 0 nothing is remembered. */
  constructor(sizeMax = memoMax) {
    this.sizeMax = sizeMax
  }

  /** `numbers` are ascending places in `rules`, which are always those of the same policy. */
  of(rules: readonly Rule[], numbers: readonly number[]): Merged {
    if (this.sizeMax === 0) return mergedOf(rules, numbers)
    let place = 0
    for (let at = 0; at < numbers.length; at++) {
      const number = numbers[at] ?? 0
      const next = this.edges.get(place, number)
      place = next === absent ? this.add(place, number) : next
      // All was forgotten on the way: this set is not worth beginning again.
      if (place === absent) return mergedOf(rules, numbers)
    }
    return (this.known[place] ??= mergedOf(rules, numbers))
  }

  private add(place: number, number: number): number {
    if (this.known.length > this.sizeMax) {
      this.edges = new PairTable()
      this.known = [undefined]
      return absent
    }
    const made = this.known.push(undefined) - 1
    this.edges.set(place, number, made)
    return made
  }
}
