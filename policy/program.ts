import type { Check } from './check.ts'
import type { Job } from './job.ts'
import type { Vocabulary } from './vocabulary.ts'

/** What kinds of checks are called in a program. */
const operations = {
  word: 0,
  topic: 1,
  'any-tag': 2,
  'all-tags': 3,
  'no-such-tag': 4,
  untagged: 5,
  other: 6,
} as const

/**
 * Checks written out as numbers in one array: `operation, dimension, count, ids...` after each other. A policy of ten thousand
 * rules is then a few hundred kilobytes that the processor reads in a row, and not a hundred thousand objects.
 */
export class Program {
  private readonly writing: number[] = []
  private readonly others: ((job: Job) => boolean)[] = []
  private numbers = new Int32Array(0)

  /** Where the next `write` will begin. */
  get length(): number {
    return this.writing.length
  }

  write(checks: readonly Check[]): void {
    for (const check of checks) {
      const operation = operations[check.kind]
      if (check.kind === 'other') this.writing.push(operation, this.others.push(check.holds) - 1, 0)
      else this.writing.push(operation, check.dimension ?? 0, check.ids.length, ...check.ids)
    }
  }

  /** Ends the writing: from here on the program is only run. */
  close(): void {
    this.numbers = new Int32Array(this.writing)
    this.writing.length = 0
  }

  /** Do all checks from `start` to before `end` hold for the job that the vocabulary is about? */
  holds(start: number, end: number, job: Job, vocabulary: Vocabulary): boolean {
    const { numbers } = this
    for (let at = start; at < end;) {
      const operation = numbers[at]
      const argument = numbers[at + 1] ?? 0
      const from = at + 3
      const to = from + (numbers[at + 2] ?? 0)
      if (!this.holdsOne(operation ?? 0, argument, from, to, job, vocabulary)) return false
      at = to
    }
    return true
  }

  private holdsOne(
    operation: number,
    argument: number,
    from: number,
    to: number,
    job: Job,
    vocabulary: Vocabulary,
  ): boolean {
    const { numbers } = this
    if (operation === operations.word) {
      const value = vocabulary.value(argument)
      for (let at = from; at < to; at++) if (numbers[at] === value) return true
      return false
    }
    if (operation === operations.topic) {
      for (let at = from; at < to; at++) if (vocabulary.hasTopic(numbers[at] ?? 0)) return true
      return false
    }
    if (operation === operations['any-tag']) {
      for (let at = from; at < to; at++) if (vocabulary.hasTag(numbers[at] ?? 0)) return true
      return false
    }
    if (operation === operations['all-tags']) {
      for (let at = from; at < to; at++) if (!vocabulary.hasTag(numbers[at] ?? 0)) return false
      return true
    }
    if (operation === operations['no-such-tag']) {
      for (let at = from; at < to; at++) if (vocabulary.hasTag(numbers[at] ?? 0)) return false
      return true
    }
    if (operation === operations.untagged) return vocabulary.isUntagged()
    return this.others[argument]?.(job) ?? false
  }
}
