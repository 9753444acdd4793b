import type { Check } from './check.ts'
import type { Job } from './job.ts'
import { absent, PairTable } from './pair-table.ts'
import { Program } from './program.ts'
import { bestDimension, branchable, childOf, type Entry } from './split.ts'
import { dimension, type Vocabulary } from './vocabulary.ts'

/** So few rules are looked at one by one. */
const leafMax = 2

/** After so many rules have been put somewhere, making the tree pauses. */
const rulesPerStep = 500

/** A node's numbers: the dimension it branches on, the node for the rules that do not name it, its own entries from and to. */
const nodeStride = 4
/** An entry's numbers: the rule, whether it can be met on several ways, its checks in the program from and to. */
const entryStride = 4

/**
 * Finds all rules whose checks hold without asking every rule. A node branches on one dimension: the rules that name values of
 * it hang below those values, the others below `rest`. A job goes down the branches of its own values and down every rest,
 * so what it costs depends on the rules that nearly match and hardly on how many there are.
 */
export class DecisionTree {
  private readonly vocabulary: Vocabulary
  private readonly edges = new PairTable()
  private readonly program = new Program()
  private nodes = new Int32Array(0)
  private entries = new Int32Array(0)
  private readonly foundTurn: Float64Array
  private turn = 0
  private sincePause = 0

  constructor(vocabulary: Vocabulary, ruleCount: number) {
    this.vocabulary = vocabulary
    this.foundTurn = new Float64Array(ruleCount)
  }

  /** Takes in all rules, a node at a time. Only then may anything be looked for. */
  *fill(rules: readonly (readonly Check[])[]): Generator<undefined, void> {
    const written = { nodes: [] as number[], entries: [] as number[] }
    yield* this.build(
      rules.map((checks, rule) => ({ rule, checks, copies: 1, severalWays: false })),
      written,
    )
    this.program.close()
    this.nodes = new Int32Array(written.nodes)
    this.entries = new Int32Array(written.entries)
  }

  /** Puts the numbers of all rules whose checks hold into `found` (emptied first), in ascending order. */
  find(job: Job, found: number[]): void {
    found.length = 0
    this.turn++
    this.visit(0, job, found)
    sort(found)
  }

  private visit(from: number, job: Job, found: number[]): void {
    const { nodes, vocabulary, edges } = this
    for (let node = from; node !== absent;) {
      const at = node * nodeStride
      const end = nodes[at + 3] ?? 0
      for (let entry = nodes[at + 2] ?? 0; entry < end; entry += entryStride) this.consider(entry, job, found)
      const of = nodes[at] ?? absent
      if (of === absent) return
      if (of === dimension.topic) this.visitEach(node, vocabulary.topics(), job, found)
      else if (of === dimension.tag) this.visitEach(node, vocabulary.tags(), job, found)
      else {
        const value = vocabulary.value(of)
        const below = value === absent ? absent : edges.get(node, value)
        if (below !== absent) this.visit(below, job, found)
      }
      node = nodes[at + 1] ?? absent
    }
  }

  private visitEach(node: number, values: readonly number[], job: Job, found: number[]): void {
    for (let index = 0; index < values.length; index++) {
      const below = this.edges.get(node, values[index] ?? 0)
      if (below !== absent) this.visit(below, job, found)
    }
  }

  private consider(entry: number, job: Job, found: number[]): void {
    const { entries } = this
    const rule = entries[entry] ?? 0
    const severalWays = entries[entry + 1] === 1
    if (severalWays && this.foundTurn[rule] === this.turn) return
    if (!this.program.holds(entries[entry + 2] ?? 0, entries[entry + 3] ?? 0, job, this.vocabulary)) return
    if (severalWays) this.foundTurn[rule] = this.turn
    found.push(rule)
  }

  private *build(
    rules: readonly Entry[],
    written: { nodes: number[]; entries: number[] },
  ): Generator<undefined, number> {
    this.sincePause += rules.length
    if (this.sincePause > rulesPerStep) {
      this.sincePause = 0
      yield
    }
    const node = written.nodes.length / nodeStride
    const of = rules.length > leafMax ? bestDimension(rules) : absent
    written.nodes.push(of, absent, 0, 0)
    if (of === absent) {
      this.writeEntries(node, rules, written)
      return node
    }
    const isLarge = rules.length > rulesPerStep
    if (isLarge) yield
    const rest: Entry[] = []
    const below = new Map<number, Entry[]>()
    for (const entry of rules) {
      const check = branchable(entry, of)
      if (check === undefined) {
        rest.push(entry)
        continue
      }
      const { child, values } = childOf(entry, check)
      for (const value of values) {
        const siblings = below.get(value)
        if (siblings === undefined) below.set(value, [child])
        else siblings.push(child)
      }
    }
    if (isLarge) yield
    for (const [value, children] of below) this.edges.set(node, value, yield* this.build(children, written))
    if (rest.length > 0) written.nodes[node * nodeStride + 1] = yield* this.build(rest, written)
    return node
  }

  private writeEntries(
    node: number,
    rules: readonly Entry[],
    { nodes, entries }: { nodes: number[]; entries: number[] },
  ): void {
    nodes[node * nodeStride + 2] = entries.length
    for (const { rule, checks, severalWays } of rules) {
      const start = this.program.length
      this.program.write(checks)
      entries.push(rule, severalWays ? 1 : 0, start, this.program.length)
    }
    nodes[node * nodeStride + 3] = entries.length
  }
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
