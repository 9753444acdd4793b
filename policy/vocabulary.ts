import type { Job } from './job.ts'
import { NumberList } from './number-list.ts'
import { absent } from './branch-table.ts'
import { TopicTrie } from './topic-trie.ts'

/**
 * What a tree of rules can branch on: topic patterns, tenant, actor, capability, tags, and from `firstLabel` on one dimension
 * per label key that the policy compares with whole values.
 */
export const dimension = { topic: 0, tenant: 1, actor: 2, capability: 3, tag: 4, firstLabel: 5 } as const

/** Stands for "no tags at all" among the tag numbers, so that `risk_tags: []` is something a tree can branch on. */
export const noTags = 0

/**
 * The words of a policy as numbers, and one job at a time in those numbers. Filled while a policy is compiled, then only read:
 * a word of a job that the policy does not know is `absent`. What was computed for a job is marked with the job's turn, so
 * nothing has to be cleared between jobs.
 */
export class Vocabulary {
  private readonly trie = new TopicTrie()
  private readonly words: Map<string, number>[] = Array.from(
    { length: dimension.firstLabel },
    () => new Map(),
  )
  private readonly labelKeys: string[] = []
  private readonly labelDimensions = new Map<string, number>()

  private job: Job | undefined
  private turn = 0
  // Floats, because a turn may pass 2^31 within an hour of work.
  private values = new Int32Array(0)
  private valueTurn = new Float64Array(0)
  private tagTurn = new Float64Array(0)
  private topicTurn = new Float64Array(0)
  private topicsAtTurn = -1
  private topicsMarkedAtTurn = -1
  private readonly topicIds = new NumberList()
  private readonly tagIds = new NumberList()
  private tagCount = 0

  constructor() {
    this.wordNumber(dimension.tag, '')
  }

  /** The number of a word in a dimension, which is added if it is new. Only while compiling. */
  wordNumber(of: number, word: string): number {
    if (of === dimension.topic) return this.trie.add(word)
    const words = this.words[of]
    if (words === undefined) throw new RangeError(`no dimension ${of}`)
    const known = words.get(word)
    if (known !== undefined) return known
    words.set(word, words.size)
    return words.size - 1
  }

  /** The dimension of a label key, which is added if it is new. Only while compiling. */
  labelDimension(key: string): number {
    const known = this.labelDimensions.get(key)
    if (known !== undefined) return known
    const made = this.words.push(new Map()) - 1
    this.labelKeys.push(key)
    this.labelDimensions.set(key, made)
    return made
  }

  /** Ends the compiling: from here on the words are only read. */
  *close(): Generator<undefined, void> {
    yield* this.trie.close()
    this.values = new Int32Array(this.words.length)
    this.valueTurn = new Float64Array(this.words.length)
    this.tagTurn = new Float64Array(this.words[dimension.tag]?.size ?? 0)
    this.topicTurn = new Float64Array(this.trie.patternCount)
  }

  /** Makes this the job that the questions below are about. It has no tags until `addTag`. */
  begin(job: Job): void {
    this.job = job
    this.turn++
    this.tagCount = 0
    this.tagIds.clear()
  }

  addTag(tag: string): void {
    this.tagCount++
    const known = this.words[dimension.tag]?.get(tag)
    // The empty word is the place of `noTags`; no tag may stand there.
    if (known === undefined || known === noTags || this.tagTurn[known] === this.turn) return
    this.tagTurn[known] = this.turn
    this.tagIds.add(known)
  }

  /** The job's value in a dimension other than topic and tag, or `absent`. */
  value(of: number): number {
    if (this.valueTurn[of] === this.turn) return this.values[of] ?? absent
    const word = this.wordOf(of)
    const number = word === undefined ? absent : (this.words[of]?.get(word) ?? absent)
    this.valueTurn[of] = this.turn
    this.values[of] = number
    return number
  }

  /** Numbers of the patterns that cover the job's topic. */
  topics(): NumberList {
    if (this.topicsAtTurn === this.turn) return this.topicIds
    this.trie.walk(this.job?.topic ?? '', this.topicIds)
    this.topicsAtTurn = this.turn
    return this.topicIds
  }

  /** Numbers of the job's tags that the policy knows; `noTags` alone if it has none at all. */
  tags(): NumberList {
    return this.tagCount === 0 ? onlyNoTags : this.tagIds
  }

  hasTopic(id: number): boolean {
    if (this.topicsMarkedAtTurn !== this.turn) {
      const ids = this.topics()
      for (let at = 0; at < ids.count; at++) this.topicTurn[ids.at(at)] = this.turn
      this.topicsMarkedAtTurn = this.turn
    }
    return this.topicTurn[id] === this.turn
  }

  hasTag(id: number): boolean {
    return this.tagTurn[id] === this.turn
  }

  isUntagged(): boolean {
    return this.tagCount === 0
  }

  private wordOf(of: number): string | undefined {
    switch (of) {
      case dimension.tenant:
        return this.job?.tenant
      case dimension.actor:
        return this.job?.agent
      case dimension.capability:
        return this.job?.capability
      default:
        return this.job?.labels.get(this.labelKeys[of - dimension.firstLabel] ?? '')
    }
  }
}

const onlyNoTags = new NumberList()
onlyNoTags.add(noTags)
