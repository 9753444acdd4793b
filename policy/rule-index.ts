import { atomHolds, checksOf, type Atom } from './check.ts'
import { DecisionTree } from './decision-tree.ts'
import type { Job } from './job.ts'
import { Program } from './program.ts'
import type { Condition, Cover, Derivation, Rule } from './rule.ts'
import { Vocabulary } from './vocabulary.ts'

/** What the payload and time conditions that were asked answered, by their id. */
export type Truths = ReadonlyMap<string, boolean>

/** Which rules cover a job (numbers into the policy's list, ascending), which tags the policy gave it, and what was asked for that. */
export type Covering = {
  readonly rules: readonly number[]
  readonly derived: readonly string[]
  readonly truths: Truths
  /** Conditions that `given` truths should have answered and did not; they were taken as false. */
  readonly unanswered: readonly string[]
}

const noTruths: Truths = new Map()
const noWords: readonly string[] = []

/** Finds the rules that cover a job. Made once per policy. One job at a time: its buffers are used again for the next. */
export class RuleIndex {
  private readonly vocabulary = new Vocabulary()
  private readonly rules: Covers
  private readonly derivations: Covers | null
  private readonly added: readonly (readonly string[])[]
  private readonly found: number[] = []

  constructor(rules: readonly Rule[], derivations: readonly Derivation[]) {
    this.derivations = derivations.length > 0 ? new Covers(derivations, this.vocabulary) : null
    this.added = derivations.map((derivation) => derivation.add)
    this.rules = new Covers(rules, this.vocabulary)
    this.vocabulary.close()
  }

  /** `given` are recorded truths that stand in for the payload and the clock; without them both are looked at. */
  covering(job: Job, nowMs: number, given: Truths | undefined): Covering {
    const asked = new Asked(nowMs, given)
    this.vocabulary.begin(job)
    const derived = this.derivations === null ? noWords : this.derive(this.derivations, job, asked)
    for (const tag of job.riskTags) this.vocabulary.addTag(tag)
    for (const tag of derived) this.vocabulary.addTag(tag)
    this.rules.find(job, asked, this.found)
    return { rules: this.found, derived, truths: asked.truths, unanswered: asked.unanswered }
  }

  private derive(derivations: Covers, job: Job, asked: Asked): readonly string[] {
    derivations.find(job, asked, this.found)
    if (this.found.length === 0) return noWords
    const tags = new Set<string>()
    for (const index of this.found) for (const tag of this.added[index] ?? noWords) tags.add(tag)
    return [...tags].toSorted()
  }
}

/** A list of covers behind one tree. */
class Covers {
  private readonly vocabulary: Vocabulary
  private readonly tree: DecisionTree
  private readonly atoms: readonly (readonly Atom[])[]
  private readonly unless: readonly (Exception | null)[]
  private readonly program = new Program()
  /** True when the tree's answer is the whole answer. */
  private readonly simple: boolean

  constructor(covers: readonly Cover[], vocabulary: Vocabulary) {
    this.vocabulary = vocabulary
    const matches = covers.map((cover) => checksOf(cover.match, vocabulary))
    this.atoms = matches.map((match) => match.atoms)
    this.unless = covers.map((cover) => (cover.unless === null ? null : this.exception(cover.unless)))
    this.program.close()
    this.simple =
      this.atoms.every((atoms) => atoms.length === 0) && this.unless.every((unless) => unless === null)
    this.tree = new DecisionTree(
      matches.map((match) => match.checks),
      vocabulary,
    )
  }

  private exception(unless: Condition): Exception {
    const { checks, atoms } = checksOf(unless, this.vocabulary)
    const start = this.program.length
    this.program.write(checks)
    return { start, end: this.program.length, atoms }
  }

  find(job: Job, asked: Asked, found: number[]): void {
    this.tree.find(job, found)
    if (this.simple) return
    let kept = 0
    for (const index of found) if (this.remains(index, job, asked)) found[kept++] = index
    found.length = kept
  }

  /**
   * The part of a cover that the tree does not know. Every atom is asked even after one failed, so that what a record holds
   * does not depend on the order in which we ask.
   */
  private remains(index: number, job: Job, asked: Asked): boolean {
    if (!asked.all(this.atoms[index] ?? [], job)) return false
    const unless = this.unless[index] ?? null
    if (unless === null) return true
    if (!this.program.holds(unless.start, unless.end, job, this.vocabulary)) return true
    return !asked.all(unless.atoms, job)
  }
}

/** An `unless`: where its checks stand in the program, and what else it asks. */
type Exception = { readonly start: number; readonly end: number; readonly atoms: readonly Atom[] }

/** Answers payload and time conditions, from the job and clock or from a record, and remembers the answers. */
class Asked {
  private answers: Map<string, boolean> | undefined
  private missing: string[] | undefined
  private readonly nowMs: number
  private readonly given: Truths | undefined

  constructor(nowMs: number, given: Truths | undefined) {
    this.nowMs = nowMs
    this.given = given
  }

  get truths(): Truths {
    return this.answers ?? noTruths
  }

  get unanswered(): readonly string[] {
    return this.missing ?? noWords
  }

  all(atoms: readonly Atom[], job: Job): boolean {
    let holds = true
    for (const atom of atoms) if (!this.one(atom, job)) holds = false
    return holds
  }

  private one(atom: Atom, job: Job): boolean {
    this.answers ??= new Map()
    const known = this.answers.get(atom.id)
    if (known !== undefined) return known
    const answer = this.given === undefined ? atomHolds(atom, job, this.nowMs) : this.given.get(atom.id)
    if (answer === undefined) {
      this.missing ??= []
      if (!this.missing.includes(atom.id)) this.missing.push(atom.id)
      return false
    }
    this.answers.set(atom.id, answer)
    return answer
  }
}
