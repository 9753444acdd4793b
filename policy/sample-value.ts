import type { Range, Scalar } from './payload.ts'
import type { LabelCondition } from './rule.ts'

/**
 * Values of a label among which there is one for every way in which these tests can come out. Text is told apart only by what
 * it equals and what it begins with, so the named texts, each a little longer, and one that nobody names are enough.
 */
export function labelSamples(tests: readonly LabelCondition[]): readonly (string | undefined)[] {
  const named = tests.flatMap((test) => {
    switch (test.kind) {
      case 'one_of':
        return test.values
      case 'prefix':
        return [test.prefix]
      case 'present':
        return []
    }
  })
  return [undefined, ...textSamples(named)]
}

export function textSamples(named: readonly string[]): readonly string[] {
  const all = ['', ...named]
  // A character of which no named text has one: what it is appended to begins with nothing longer that is named.
  const spare =
    Array.from(spareCharacters).find((one) => !all.some((text) => text.includes(one))) ?? '\u{1f4e6}'
  return [...new Set([...named, ...all.map((text) => text + spare), ''])]
}

const spareCharacters = 'xyzwvuqkj0123456789_-XYZWVUQKJ'

/** Numbers among which there is one for every way in which these ranges (and equalities) can come out. */
export function numberSamples(
  ranges: readonly Range[],
  equals: readonly number[],
  whole: boolean,
): readonly number[] {
  const bounds = [...ranges.flatMap((range) => Object.values(range)), ...equals]
  const sorted = [...new Set(bounds)].toSorted((a, b) => a - b)
  const between = sorted.slice(1).map((bound, index) => ((sorted[index] ?? 0) + bound) / 2)
  const around = sorted.flatMap((bound) => [bound, bound - 1, bound + 1])
  const all = whole ? [...around, ...between.map(Math.floor)] : [...around, ...between]
  return [...new Set([...all, 0])].filter((number) => !whole || Number.isInteger(number))
}

export function isNumber(value: Scalar): value is number {
  return typeof value === 'number'
}
