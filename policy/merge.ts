import { attemptsTotalSecMax, meetConstraints, type Constraints } from './constraints.ts'
import { canonicalJson, shortHash } from './digest.ts'
import type { Excluded, OutputTerms, Rule, Threshold, ThrottleTerms } from './rule.ts'

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

/** What a set of matching rules comes to, whoever the job's author is and whatever the time. */
export type Merged = {
  readonly matched: readonly string[]
  readonly denying: Rule | null
  /** False if only rules that may not grant anything match. */
  readonly granted: boolean
  readonly throttles: readonly ThrottleTerms[]
  readonly throttling: readonly Rule[]
  readonly approving: Rule | null
  readonly approval: ApprovalRequirement | null
  readonly constraining: Rule | null
  readonly constraints: Constraints | null
  readonly first: Rule | null
  readonly output: OutputTerms | null
}

/** All matching rules in one: the order in which they come is that of their ids, so the first of a kind is the one to name. */
export function mergeRules(matching: readonly Rule[]): Merged {
  const approving = matching.filter((rule) => rule.decision === 'require_approval')
  const throttling = matching.filter((rule) => rule.throttle !== null)
  return {
    matched: matching.map((rule) => rule.id),
    denying: matching.find((rule) => rule.decision === 'deny') ?? null,
    granted: matching.some((rule) => !rule.overlay),
    throttling,
    throttles: throttling.flatMap((rule) => rule.throttle ?? []),
    approving: approving[0] ?? null,
    approval: approving.length > 0 ? requirementOf(approving) : null,
    constraining: matching.find((rule) => rule.constraints !== null) ?? null,
    constraints: meetAll(matching),
    first: matching[0] ?? null,
    output: outputOf(matching),
  }
}

function meetAll(matching: readonly Rule[]): Constraints | null {
  const met = matching.reduce<Constraints | null>((so, rule) => meetConstraints(so, rule.constraints), null)
  return met === null ? null : withBoundedRetries(met)
}

/** Two rules may each be within the hour and exceed it together; the retries give way, since the runtime is one attempt's need. */
function withBoundedRetries(constraints: Constraints): Constraints {
  const { max_runtime_sec: runtimeSec, max_retries: retries } = constraints
  if (runtimeSec === undefined || retries === undefined) return constraints
  const retriesMax = Math.floor(attemptsTotalSecMax / runtimeSec) - 1
  return retries > retriesMax ? { ...constraints, max_retries: retriesMax } : constraints
}

function requirementOf(rules: readonly Rule[]): ApprovalRequirement {
  const terms = rules.flatMap((rule) =>
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

function outputOf(matching: readonly Rule[]): OutputTerms | null {
  const terms = matching.flatMap((rule) => rule.output ?? [])
  if (terms.length === 0) return null
  const quarantine = new Set(terms.flatMap((term) => term.quarantine))
  const redact = new Set(terms.flatMap((term) => term.redact).filter((name) => !quarantine.has(name)))
  return { quarantine: [...quarantine].toSorted(), redact: [...redact].toSorted() }
}

const mergedMax = 8_192

type Node = { merged: Merged | null; below: Map<number, Node> | null }

/**
 * Remembers what sets of rules come to: jobs are many, the sets of rules they match are few. Bounded: when it is full it
 * forgets everything and begins again.
 */
export class MergeMemo {
  private readonly rules: readonly Rule[]
  private readonly sizeMax: number
  private root: Node = { merged: null, below: null }
  private size = 0

  /** With `sizeMax` 0 nothing is remembered. */
  constructor(rules: readonly Rule[], sizeMax: number = mergedMax) {
    this.rules = rules
    this.sizeMax = sizeMax
  }

  /** What the rules with these numbers (ascending) come to. */
  merged(numbers: readonly number[]): Merged {
    let node = this.root
    for (const number of numbers) {
      const below = node.below?.get(number)
      if (below === undefined) return this.remember(numbers)
      node = below
    }
    return node.merged ?? this.remember(numbers)
  }

  private remember(numbers: readonly number[]): Merged {
    const merged = mergeRules(numbers.flatMap((number) => this.rules[number] ?? []))
    if (numbers.length > this.sizeMax) return merged
    if (this.size + numbers.length > this.sizeMax) {
      this.root = { merged: null, below: null }
      this.size = 0
    }
    let node = this.root
    for (const number of numbers) {
      node.below ??= new Map()
      let below = node.below.get(number)
      if (below === undefined) {
        node.below.set(number, (below = { merged: null, below: null }))
        this.size++
      }
      node = below
    }
    node.merged = merged
    return merged
  }
}
