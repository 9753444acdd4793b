import { readTable, writeTable } from './branch-table.ts'
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
/** The operation stands in the low bits, how many ids follow above them. */
const countShift = 3
const operationMask = (1 << countShift) - 1

/**
 * Checks written out as numbers in one array: `operation and count in one number, argument, ids...` after each other. A policy of
 * ten thousand rules is then a few hundred kilobytes that the processor reads in a row, and not a hundred thousand objects.
 */
export class Program {
  private writing: number[] = []
  private readonly others: ((job: Job) => boolean)[] = []
  /** All that was written; filled by `close`. */
  numbers = new Int32Array(0)

  /** Where the next number will stand. */
  get length(): number {
    return this.writing.length
  }

  write(checks: readonly Check[]): void {
    for (const check of checks) {
      const operation = operations[check.kind]
      if (check.kind === 'other') this.writing.push(operation, this.others.push(check.holds) - 1)
      else {
        this.writing.push(operation | (check.ids.length << countShift), check.dimension ?? 0)
        for (const id of check.ids) this.writing.push(id)
      }
    }
  }

  /** A number between the checks that is not one, for whoever reads the numbers; returns its place. */
  put(number: number): number {
    return this.writing.push(number) - 1
  }

  /** A table between the checks, from values to numbers. */
  putTable(pairs: ReadonlyMap<number, number>): void {
    writeTable(this.writing, pairs)
  }

  /** What the table at a place has for a value, or `absent`. */
  below(table: number, value: number): number {
    return readTable(this.numbers, table, value)
  }

  change(place: number, number: number): void {
    this.writing[place] = number
  }

  /** Ends the writing: from here on the program is only run. */
  close(): void {
    this.numbers = new Int32Array(this.writing)
    this.writing = []
  }

  /** Do all checks from `start` to before `end` hold for the job that the vocabulary is about? */
  holds(start: number, end: number, job: Job, vocabulary: Vocabulary): boolean {
    const { numbers } = this
    for (let at = start; at < end;) {
      const from = at + 2
      const to = from + ((numbers[at] ?? 0) >> countShift)
      if (!this.holdsOne(at, from, to, job, vocabulary)) return false
      at = to
    }
    return true
  }

  private holdsOne(at: number, from: number, to: number, job: Job, vocabulary: Vocabulary): boolean {
    const { numbers } = this
    const argument = numbers[at + 1] ?? 0
    switch ((numbers[at] ?? operations.other) & operationMask) {
      case operations.word: {
        const value = vocabulary.value(argument)
        for (let id = from; id < to; id++) if (numbers[id] === value) return true
        return false
      }
      case operations.topic:
        for (let id = from; id < to; id++) if (vocabulary.hasTopic(numbers[id] ?? 0)) return true
        return false
      case operations['any-tag']:
        for (let id = from; id < to; id++) if (vocabulary.hasTag(numbers[id] ?? 0)) return true
        return false
      case operations['all-tags']:
        for (let id = from; id < to; id++) if (!vocabulary.hasTag(numbers[id] ?? 0)) return false
        return true
      case operations['no-such-tag']:
        for (let id = from; id < to; id++) if (vocabulary.hasTag(numbers[id] ?? 0)) return false
        return true
      case operations.untagged:
        return vocabulary.isUntagged()
      case operations.other:
        return this.others[argument]?.(job) ?? false
    }
    return false
  }
}
