import { checkHolds, type Check } from './check.ts'
import type { Job } from './job.ts'
import { absent, PairTable } from './pair-table.ts'
import { dimension, type Vocabulary } from './vocabulary.ts'

/** A rule on its way down the tree: the checks that the path has not yet answered. */
type Entry = { readonly rule: number; readonly checks: readonly Check[]; readonly copies: number }

const leafMax = 2
/** A rule with lists of values stands once under each of them; beyond so many copies a list is looked at in the leaf instead. */
const copiesMax = 256

/**
 * Finds all rules whose checks hold without asking every rule. A node branches on one dimension: the rules that name values of
 * it hang below those values, the others below `rest`. A job goes down the branches of its own values and down every rest,
 * so what it costs depends on the rules that nearly match and hardly on how many there are.
 */
export class DecisionTree {
  private readonly vocabulary: Vocabulary
  private readonly edges = new PairTable()
  private readonly dimensions: number[] = []
  private readonly rests: number[] = []
  private readonly leaves: (readonly Entry[])[] = []
  private readonly foundTurn: Float64Array
  private turn = 0
  private readonly root: number

  constructor(rules: readonly (readonly Check[])[], vocabulary: Vocabulary) {
    this.vocabulary = vocabulary
    this.foundTurn = new Float64Array(rules.length)
    this.root = this.build(rules.map((checks, rule) => ({ rule, checks, copies: 1 })))
  }

  /** Puts the numbers of all rules whose checks hold into `found` (emptied first), in ascending order. */
  find(job: Job, found: number[]): void {
    found.length = 0
    this.turn++
    this.visit(this.root, job, found)
    sort(found)
  }

  private visit(from: number, job: Job, found: number[]): void {
    for (let node = from; node !== absent; node = this.rests[node] ?? absent) {
      const leaf = this.leaves[node]
      if (leaf !== undefined) for (const entry of leaf) this.consider(entry, job, found)
      const of = this.dimensions[node] ?? absent
      if (of === absent) return
      if (of === dimension.topic) this.visitEach(node, this.vocabulary.topics(), job, found)
      else if (of === dimension.tag) this.visitEach(node, this.vocabulary.tags(), job, found)
      else {
        const value = this.vocabulary.value(of)
        const below = value === absent ? absent : this.edges.get(node, value)
        if (below !== absent) this.visit(below, job, found)
      }
    }
  }

  private visitEach(node: number, values: readonly number[], job: Job, found: number[]): void {
    for (const value of values) {
      const below = this.edges.get(node, value)
      if (below !== absent) this.visit(below, job, found)
    }
  }

  private consider(entry: Entry, job: Job, found: number[]): void {
    const { rule, checks } = entry
    // A rule with several values can be reached along several branches.
    if (this.foundTurn[rule] === this.turn) return
    for (const check of checks) if (!checkHolds(check, job, this.vocabulary)) return
    this.foundTurn[rule] = this.turn
    found.push(rule)
  }

  private build(entries: readonly Entry[]): number {
    const node = this.dimensions.push(absent) - 1
    this.rests.push(absent)
    this.leaves.push(none)
    const of = entries.length > leafMax ? bestDimension(entries) : absent
    if (of === absent) {
      this.leaves[node] = entries
      return node
    }
    this.dimensions[node] = of
    const rest: Entry[] = []
    const below = new Map<number, Entry[]>()
    for (const entry of entries) {
      const check = branchable(entry, of)
      if (check === undefined) {
        rest.push(entry)
        continue
      }
      const ids = valuesToBranchOn(check)
      const child = {
        rule: entry.rule,
        checks: answered(entry.checks, check),
        copies: entry.copies * ids.length,
      }
      for (const id of ids) {
        const siblings = below.get(id)
        if (siblings === undefined) below.set(id, [child])
        else siblings.push(child)
      }
    }
    for (const [id, children] of below) this.edges.set(node, id, this.build(children))
    if (rest.length > 0) this.rests[node] = this.build(rest)
    return node
  }
}

const none: readonly Entry[] = []

/** The check of an entry that a node can branch on in this dimension. */
function branchable(entry: Entry, of: number): Check | undefined {
  return entry.checks.find((check) => check.dimension === of && entry.copies * check.ids.length <= copiesMax)
}

/** One of the tags that must all be there is enough to find the rule. */
function valuesToBranchOn(check: Check): readonly number[] {
  return check.kind === 'all-tags' ? check.ids.slice(0, 1) : check.ids
}

/** Being below a value answers the check; of tags that must all be there, only the first is answered. */
function answered(checks: readonly Check[], check: Check): readonly Check[] {
  const others = checks.filter((other) => other !== check)
  if (check.kind !== 'all-tags' || check.ids.length < 2) return others
  return [...others, { ...check, ids: check.ids.slice(1) }]
}

/** The dimension that leaves the fewest rules to look at for a job of typical values, or `absent` if none helps. */
function bestDimension(entries: readonly Entry[]): number {
  const counts = new Map<number, { covered: number; byValue: Map<number, number> }>()
  for (const entry of entries) {
    let before = absent
    for (const check of entry.checks) {
      const of = check.dimension
      if (of === absent || of === before || entry.copies * check.ids.length > copiesMax) continue
      before = of
      let count = counts.get(of)
      if (count === undefined) counts.set(of, (count = { covered: 0, byValue: new Map() }))
      count.covered++
      for (const id of valuesToBranchOn(check)) count.byValue.set(id, (count.byValue.get(id) ?? 0) + 1)
    }
  }
  let best: number = absent
  let bestCost = Infinity
  for (const [of, { covered, byValue }] of counts) {
    let copies = 0
    let squares = 0
    for (const size of byValue.values()) {
      copies += size
      squares += size * size
    }
    const cost = entries.length - covered + squares / copies
    if (cost < bestCost) {
      best = of
      bestCost = cost
    }
  }
  return best
}

/** Insertion sort: a handful of numbers, without the call into the runtime. Many are rare and are sorted properly. */
function sort(numbers: number[]): void {
  if (numbers.length > 32) {
    numbers.sort((a, b) => a - b)
    return
  }
  for (let end = 1; end < numbers.length; end++) {
    const number = numbers[end] ?? 0
    let at = end
    for (; at > 0 && (numbers[at - 1] ?? 0) > number; at--) numbers[at] = numbers[at - 1] ?? 0
    numbers[at] = number
  }
}
