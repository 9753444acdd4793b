import { absent } from './branch-table.ts'
import type { Check } from './check.ts'
import type { Job } from './job.ts'
import type { NumberList } from './number-list.ts'
import { Program } from './program.ts'
import { bestDimension, branchable, childOf, rulesPerStep, type Entry } from './split.ts'
import { dimension, type Vocabulary } from './vocabulary.ts'

/** So few rules are looked at one by one. */
const leafMax = 2

/** What stands before the table of a branch. */
const branchHead = 2
/** What stands before the checks of a rule in a leaf. */
const entryHead = 2

/**
 * Finds all rules whose checks hold without asking every rule. A node branches on one dimension: the rules that name values of
 * it hang below those values, the others below `rest`. A job goes down the branches of its own values and down every rest,
 * so what it costs depends on the rules that nearly match and hardly on how many there are.
 *
 * The nodes stand among the checks in one program, so that what is read together lies together. A branch is the dimension, the
 * place of the rest or `absent`, and a table from values to places. A leaf is `absent`, its end, and for each of its rules the rule's
 * number doubled, plus one if it can be met on several ways, the end of its checks, and the checks.
 */
export class DecisionTree {
  private readonly vocabulary: Vocabulary
  private readonly program = new Program()
  private readonly foundTurn: Float64Array
  private root = 0
  private turn = 0
  private sincePause = 0

  constructor(vocabulary: Vocabulary, ruleCount: number) {
    this.vocabulary = vocabulary
    this.foundTurn = new Float64Array(ruleCount)
  }

  /** Takes in all rules, a node at a time. Only then may anything be looked for. */
  *fill(rules: readonly (readonly Check[])[]): Generator<undefined, void> {
    this.root = yield* this.build(
      rules.map((checks, rule) => ({ rule, checks, copies: 1, severalWays: false })),
    )
    this.program.close()
  }

  /** Puts the numbers of all rules whose checks hold into `found` (emptied first), in ascending order. */
  find(job: Job, found: NumberList): void {
    found.clear()
    this.turn++
    this.visit(this.root, job, found)
    found.sort()
  }

  private visit(from: number, job: Job, found: NumberList): void {
    const { vocabulary, program } = this
    const { numbers } = program
    for (let node = from; node !== absent; node = numbers[node + 1] ?? absent) {
      const of = numbers[node] ?? absent
      if (of === absent) return this.visitLeaf(node, job, found)
      if (of === dimension.topic) this.visitEach(node, vocabulary.topics(), job, found)
      else if (of === dimension.tag) this.visitEach(node, vocabulary.tags(), job, found)
      else {
        const value = vocabulary.value(of)
        const below = value === absent ? absent : program.below(node + branchHead, value)
        if (below !== absent) this.visit(below, job, found)
      }
    }
  }

  private visitEach(node: number, values: NumberList, job: Job, found: NumberList): void {
    for (let at = 0; at < values.count; at++) {
      const below = this.program.below(node + branchHead, values.at(at))
      if (below !== absent) this.visit(below, job, found)
    }
  }

  private visitLeaf(leaf: number, job: Job, found: NumberList): void {
    const { numbers } = this.program
    const end = numbers[leaf + 1] ?? 0
    for (let at = leaf + 2; at < end;) {
      const entry = numbers[at] ?? 0
      const rule = entry >> 1
      const severalWays = (entry & 1) === 1
      const checks = at + entryHead
      at = numbers[at + 1] ?? end
      if (severalWays && this.foundTurn[rule] === this.turn) continue
      if (!this.program.holds(checks, at, job, this.vocabulary)) continue
      if (severalWays) this.foundTurn[rule] = this.turn
      found.add(rule)
    }
  }

  /** Writes a node behind all that is below it; returns its place. */
  private *build(rules: readonly Entry[]): Generator<undefined, number> {
    this.sincePause += rules.length
    if (this.sincePause > rulesPerStep) {
      this.sincePause = 0
      yield
    }
    const of = rules.length > leafMax ? yield* bestDimension(rules) : absent
    if (of === absent) return this.writeLeaf(rules)
    const rest: Entry[] = []
    const below = new Map<number, Entry[]>()
    for (const [at, entry] of rules.entries()) {
      if (at % rulesPerStep === rulesPerStep - 1) yield
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
    const places = new Map<number, number>()
    for (const [value, children] of below) places.set(value, yield* this.build(children))
    const restPlace = rest.length > 0 ? yield* this.build(rest) : absent
    const node = this.program.put(of)
    this.program.put(restPlace)
    this.program.putTable(places)
    return node
  }

  private writeLeaf(rules: readonly Entry[]): number {
    const { program } = this
    const leaf = program.put(absent)
    const leafEnd = program.put(0)
    for (const { rule, checks, severalWays } of rules) {
      program.put((rule << 1) | (severalWays ? 1 : 0))
      const end = program.put(0)
      program.write(checks)
      program.change(end, program.length)
    }
    program.change(leafEnd, program.length)
    return leaf
  }
}
