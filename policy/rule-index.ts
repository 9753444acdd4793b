import { atomHolds, checksOf, type Atom, type Checks } from './check.ts'
import { DecisionTree } from './decision-tree.ts'
import type { Job } from './job.ts'
import { NumberList } from './number-list.ts'
import { Program } from './program.ts'
import type { Condition, Cover, Derivation, Rule } from './rule.ts'
import { Vocabulary } from './vocabulary.ts'

/** What the payload and time conditions that were asked answered, by their id. */
export type Truths = ReadonlyMap<string, boolean>

/** Which rules cover a job (numbers into the policy's list, ascending), which tags the policy gave it, and what was asked for that. */
export type Covering = {
  readonly rules: NumberList
  readonly derived: readonly string[]
  readonly truths: Truths
  /** Conditions that `given` truths should have answered and did not; they were taken as false. */
  readonly unanswered: readonly string[]
}

const noTruths: Truths = new Map()
const noWords: readonly string[] = []

/** Finds the rules that cover a job. Made once per policy. One job at a time: what it found is filled anew for the next. */
export class RuleIndex {
  private readonly vocabulary: Vocabulary
  private readonly rules: Covers
  private readonly derivations: Covers | null
  private readonly added: readonly (readonly string[])[]
  private readonly asked = new Asked()
  private readonly found = {
    rules: new NumberList(),
    derived: noWords,
    truths: noTruths,
    unanswered: noWords,
  }

  constructor(vocabulary: Vocabulary, rules: Covers, derivations: Covers | null, added: RuleIndex['added']) {
    this.vocabulary = vocabulary
    this.rules = rules
    this.derivations = derivations
    this.added = added
  }

  /** `given` are recorded truths that stand in for the payload and the clock; without them both are looked at. */
  covering(job: Job, nowMs: number, given: Truths | undefined): Covering {
    const { found, asked, vocabulary } = this
    asked.begin(nowMs, given)
    vocabulary.begin(job)
    const derived = this.derivations === null ? noWords : this.derive(this.derivations, job)
    const { riskTags } = job
    for (let at = 0; at < riskTags.length; at++) vocabulary.addTag(riskTags[at] ?? '')
    for (let at = 0; at < derived.length; at++) vocabulary.addTag(derived[at] ?? '')
    this.rules.find(job, asked, found.rules)
    found.derived = derived
    found.truths = asked.truths
    found.unanswered = asked.unanswered
    return found
  }

  private derive(derivations: Covers, job: Job): readonly string[] {
    const { rules } = this.found
    derivations.find(job, this.asked, rules)
    if (rules.count === 0) return noWords
    const tags = new Set<string>()
    for (let at = 0; at < rules.count; at++)
      for (const tag of this.added[rules.at(at)] ?? noWords) tags.add(tag)
    return [...tags].toSorted()
  }
}

/** Makes the index, a bounded piece of work between one `yield` and the next. */
export function* makeRuleIndex(
  rules: readonly Rule[],
  derivations: readonly Derivation[],
): Generator<undefined, RuleIndex> {
  const vocabulary = new Vocabulary()
  const deriving = derivations.length > 0 ? yield* makeCovers(derivations, vocabulary) : null
  const covering = yield* makeCovers(rules, vocabulary)
  yield* vocabulary.close()
  return new RuleIndex(
    vocabulary,
    covering,
    deriving,
    derivations.map((derivation) => derivation.add),
  )
}

const coversPerStep = 200

function* makeCovers(covers: readonly Cover[], vocabulary: Vocabulary): Generator<undefined, Covers> {
  const made: Covered[] = []
  const program = new Program()
  for (const [at, { match, unless }] of covers.entries()) {
    if (at % coversPerStep === coversPerStep - 1) yield
    const matching = checksOf(match, vocabulary)
    made.push({ ...matching, unless: unless === null ? null : exceptionOf(unless, vocabulary, program) })
  }
  program.close()
  const tree = new DecisionTree(vocabulary, made.length)
  yield* tree.fill(made.map(({ checks }) => checks))
  return new Covers(vocabulary, tree, program, made)
}

function exceptionOf(unless: Condition, vocabulary: Vocabulary, program: Program): Exception {
  const { checks, atoms } = checksOf(unless, vocabulary)
  const start = program.length
  program.write(checks)
  return { start, end: program.length, atoms }
}

type Covered = Checks & { readonly unless: Exception | null }

/** A list of covers behind one tree. */
class Covers {
  private readonly vocabulary: Vocabulary
  private readonly tree: DecisionTree
  private readonly atoms: readonly (readonly Atom[])[]
  private readonly unless: readonly (Exception | null)[]
  private readonly program: Program
  /** True when the tree's answer is the whole answer. */
  private readonly simple: boolean

  constructor(vocabulary: Vocabulary, tree: DecisionTree, program: Program, covered: readonly Covered[]) {
    this.vocabulary = vocabulary
    this.tree = tree
    this.program = program
    this.atoms = covered.map(({ atoms }) => atoms)
    this.unless = covered.map(({ unless }) => unless)
    this.simple = covered.every(({ atoms, unless }) => atoms.length === 0 && unless === null)
  }

  find(job: Job, asked: Asked, found: NumberList): void {
    this.tree.find(job, found)
    if (this.simple) return
    let kept = 0
    for (let at = 0; at < found.count; at++) {
      const rule = found.at(at)
      if (this.remains(rule, job, asked)) found.put(kept++, rule)
    }
    found.cut(kept)
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
  private nowMs = 0
  private given: Truths | undefined

  begin(nowMs: number, given: Truths | undefined): void {
    this.answers = undefined
    this.missing = undefined
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
