import { attemptsTotalSecMax, meetConstraints, type Constraints } from './constraints.ts'
import { canonicalJson, shortHash } from './digest.ts'
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
export type Sorted = {
  readonly matched: readonly string[]
  readonly first: Rule | null
  readonly denying: Rule | null
  /** False if only rules that may not grant anything match. */
  readonly granted: boolean
  readonly throttling: readonly Rule[]
  readonly approving: readonly Rule[]
  readonly constraining: readonly Rule[]
  readonly output: readonly Rule[]
}

const noRules: readonly Rule[] = []

/** Sorts out what a set of matching rules wants. `numbers` are ascending places in `rules`, which are sorted by id. */
export function sortRules(rules: readonly Rule[], numbers: readonly number[]): Sorted {
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
    output: output ?? noRules,
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
export function mergedOutput(rules: readonly Rule[]): OutputTerms | null {
  const terms = rules.flatMap((rule) => rule.output ?? [])
  if (terms.length === 0) return null
  const quarantine = new Set(terms.flatMap((term) => term.quarantine))
  const redact = new Set(terms.flatMap((term) => term.redact).filter((name) => !quarantine.has(name)))
  return { quarantine: [...quarantine].toSorted(), redact: [...redact].toSorted() }
}

const memoMax = 4_096

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

/** What sets of a policy's rules come to, remembered. */
export type Merges = {
  readonly constraints: RulesMemo<Constraints | null>
  readonly approval: RulesMemo<ApprovalRequirement | null>
}

export function mergesOf(sizeMax?: number): Merges {
  return {
    constraints: new RulesMemo(mergedConstraints, sizeMax),
    approval: new RulesMemo(mergedApproval, sizeMax),
  }
}
