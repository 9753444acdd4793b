import { absent } from './branch-table.ts'
import { attemptsTotalSecMax, meetConstraints, type Constraints } from './constraints.ts'
import { mergedApproval, type ApprovalRequirement } from './merge-approval.ts'
import { NumberList } from './number-list.ts'
import type { OutputTerms, Rule, ThrottleTerms } from './rule.ts'

/** What a rule can want, as bits. */
const wish = { deny: 1, grant: 2, throttle: 4, approval: 8, constraints: 16, output: 32 } as const

function wishesOf(rule: Rule): number {
  return (
    (rule.decision === 'deny' ? wish.deny : 0) |
    (rule.overlay ? 0 : wish.grant) |
    (rule.throttle === null ? 0 : wish.throttle) |
    (rule.approval === null ? 0 : wish.approval) |
    (rule.constraints === null ? 0 : wish.constraints) |
    (rule.output === null ? 0 : wish.output)
  )
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

/** A limit that this job must pass; `key` names the counter that it shares with other jobs. */
export type Throttle = ThrottleTerms & { readonly key: string }

/** The rules' limits, unless a counter depends on the job. */
function sharedThrottles(throttling: readonly Rule[]): readonly Throttle[] | null {
  const terms = throttling.flatMap((rule) => rule.throttle ?? [])
  return terms.some(({ keyedBy }) => keyedBy.length > 0)
    ? null
    : terms.map((throttle) => ({ ...throttle, key: throttle.ruleId }))
}

/** Sets of rules of which a memo remembers what they come to. */
const setsMax = 4_096

/**
 * Remembers what is made of rules, because it is dear to make. A set is found by a hash of its numbers and then compared in
 * full; when there are too many sets, all are forgotten.
 */
class SetMemo<Made> {
  private readonly rules: readonly Rule[]
  private readonly make: (rules: readonly Rule[]) => Made
  private readonly setsMax: number
  private readonly alone: (Made | undefined)[]
  private readonly together = new Map<number, { readonly numbers: readonly number[]; readonly made: Made }>()

  /** With 0 nothing is remembered but what single rules come to. */
  constructor(rules: readonly Rule[], make: (rules: readonly Rule[]) => Made, sets: number) {
    this.rules = rules
    this.make = make
    this.alone = rules.map(() => undefined)
    this.setsMax = sets
  }

  of(numbers: NumberList): Made {
    if (numbers.count === 1) return (this.alone[numbers.at(0)] ??= this.made(numbers))
    const hash = numbers.hash()
    const known = this.together.get(hash)
    if (known !== undefined && numbers.equals(known.numbers)) return known.made
    const made = this.made(numbers)
    if (this.together.size >= this.setsMax) this.together.clear()
    if (this.setsMax > 0) this.together.set(hash, { numbers: numbers.toArray(), made })
    return made
  }

  private made(numbers: NumberList): Made {
    return this.make(numbers.toArray().flatMap((number) => this.rules[number] ?? []))
  }
}

/**
 * What the rules that match a job come to. One set at a time: what is found is filled anew for the next. All lists are in byte
 * order of the rules' ids, so that the first of a list is the one to name.
 */
export class Merge {
  /** Of every rule its id and its reason, side by side: what is read together lies together. */
  private readonly words: readonly string[]
  private readonly wishes: Uint8Array
  private readonly constraintsOf: SetMemo<Constraints | null>
  private readonly approvalOf: SetMemo<ApprovalRequirement | null>
  private readonly outputOf: SetMemo<OutputTerms | null>
  private readonly throttlesOf: SetMemo<readonly Throttle[] | null>
  /** The rule that denies, or `absent`. */
  denying = absent
  /** False if only rules that may not grant anything match. */
  granted = false
  readonly throttling = new NumberList()
  readonly approving = new NumberList()
  readonly constraining = new NumberList()
  private readonly outputting = new NumberList()

  constructor(rules: readonly Rule[], sets = setsMax) {
    this.words = rules.flatMap(({ id, reason }) => [id, reason])
    this.wishes = Uint8Array.from(rules, wishesOf)
    this.constraintsOf = new SetMemo(rules, mergedConstraints, sets)
    this.approvalOf = new SetMemo(rules, mergedApproval, sets)
    this.outputOf = new SetMemo(rules, mergedOutput, sets)
    this.throttlesOf = new SetMemo(rules, sharedThrottles, sets)
  }

  /** Sorts the rules out by what they want and returns their ids. `numbers` are ascending places in `rules`, which are sorted by id. */
  begin(numbers: NumberList): readonly string[] {
    this.denying = absent
    this.throttling.clear()
    this.approving.clear()
    this.constraining.clear()
    this.outputting.clear()
    // Of the right length from the beginning: an array that grows leaves much behind.
    const matched = Array<string>(numbers.count)
    let all = 0
    for (let at = 0; at < numbers.count; at++) {
      const number = numbers.at(at)
      const wishes = this.wishes[number] ?? 0
      matched[at] = this.id(number)
      all |= wishes
      if ((wishes & wish.deny) !== 0 && this.denying === absent) this.denying = number
      if ((wishes & wish.throttle) !== 0) this.throttling.add(number)
      if ((wishes & wish.approval) !== 0) this.approving.add(number)
      if ((wishes & wish.constraints) !== 0) this.constraining.add(number)
      if ((wishes & wish.output) !== 0) this.outputting.add(number)
    }
    this.granted = (all & wish.grant) !== 0
    return matched
  }

  id(number: number): string {
    return this.words[number * 2] ?? ''
  }

  reason(number: number): string {
    return this.words[number * 2 + 1] ?? ''
  }

  /** The limits of all of the rules where every job shares their counters, else null. */
  throttles(): readonly Throttle[] | null {
    return this.throttlesOf.of(this.throttling)
  }

  constraints(): Constraints | null {
    return this.constraining.count === 0 ? null : this.constraintsOf.of(this.constraining)
  }

  approval(): ApprovalRequirement | null {
    return this.approving.count === 0 ? null : this.approvalOf.of(this.approving)
  }

  output(): OutputTerms | null {
    return this.outputting.count === 0 ? null : this.outputOf.of(this.outputting)
  }
}
