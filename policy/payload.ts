import { canonicalJson, shortHash } from './digest.ts'

/** Bounds of a number; absent ones do not bound. */
export type Range = {
  readonly atLeast?: number
  readonly above?: number
  readonly atMost?: number
  readonly below?: number
}

/** A value that a condition can name. */
export type Scalar = string | number | boolean | null

/** What the value at a place of the payload must be. Types count: the number 5 is not the text "5". */
export type PayloadTest =
  | { readonly kind: 'one_of'; readonly values: readonly Scalar[] }
  | { readonly kind: 'prefix'; readonly prefix: string }
  | { readonly kind: 'exists'; readonly exists: boolean }
  | { readonly kind: 'range'; readonly range: Range }

/** A test at a JSON pointer. `id` names it in records, which hold its truth value and never the payload. */
export type PayloadCondition = {
  readonly id: string
  readonly pointer: string
  readonly steps: readonly string[]
  readonly test: PayloadTest
}

export function payloadCondition(pointer: string, test: PayloadTest): PayloadCondition {
  const steps = pointer
    .slice(1)
    .split('/')
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
  return { id: `p-${shortHash(canonicalJson([pointer, test]))}`, pointer, steps, test }
}

/** What is wrong with a JSON pointer (RFC 6901), or undefined. The empty pointer is refused: a payload is not one value. */
export function pointerProblem(pointer: string): string | undefined {
  if (!pointer.startsWith('/')) return 'must be a JSON pointer, which begins with "/"'
  if (pointer.length > 256) return 'must be at most 256 characters'
  return /~(?![01])/.test(pointer) ? 'has a "~" that is neither ~0 nor ~1' : undefined
}

export function payloadHolds(condition: PayloadCondition, payload: unknown): boolean {
  const found = valueAt(payload, condition.steps)
  const { test } = condition
  switch (test.kind) {
    case 'exists':
      return (found !== undefined) === test.exists
    case 'one_of':
      return test.values.some((value) => value === found)
    case 'prefix':
      return typeof found === 'string' && found.startsWith(test.prefix)
    case 'range':
      return typeof found === 'number' && inRange(test.range, found)
  }
}

export function inRange(range: Range, value: number): boolean {
  if (range.atLeast !== undefined && !(value >= range.atLeast)) return false
  if (range.above !== undefined && !(value > range.above)) return false
  if (range.atMost !== undefined && !(value <= range.atMost)) return false
  return range.below === undefined || value < range.below
}

const arrayIndex = /^(?:0|[1-9][0-9]{0,9})$/

/** Own keys only: a pointer to /constructor or /__proto__ finds what the agent wrote, or nothing. */
function valueAt(payload: unknown, steps: readonly string[]): unknown {
  let at = payload
  for (const step of steps) {
    if (typeof at !== 'object' || at === null) return undefined
    if (Array.isArray(at)) at = arrayIndex.test(step) ? (at as readonly unknown[])[Number(step)] : undefined
    else at = Object.hasOwn(at, step) ? (at as Record<string, unknown>)[step] : undefined
  }
  return at
}
