import { createKeyHash } from './index-hash.ts'

/**
 * A list of numbers for each key, made for millions of keys: what is kept of a key is a 64-bit hash. Two keys may share
 * one (about never), so whoever reads the rows behind the numbers checks that they belong to the key.
 */
export type Links = {
  /** True if the key is new. */
  add(key: string, value: number): boolean
  /** The newest `max` numbers of the key, oldest first, and whether there are more. */
  of(key: string, max: number): { readonly values: readonly number[]; readonly more: boolean }
  readonly bytes: number
}

const slotsAtFirst = 1 << 10
const fullness = 0.7

/** Numbers are kept in 32 bits: 0 to 4,294,967,294. */
export function createLinks(): Links {
  const hashOf = createKeyHash()
  let slots = createSlots(slotsAtFirst)
  let used = 0
  let values = new Uint32Array(slotsAtFirst)
  let previous = new Uint32Array(slotsAtFirst)
  let count = 0

  const grow = (): void => {
    const larger = createSlots(slots.heads.length * 2)
    for (let index = 0; index < slots.heads.length; index++) {
      const head = slots.heads[index] as number
      if (head === 0) continue
      const at = find(larger, slots.low[index] as number, slots.high[index] as number)
      put(larger, at, slots.low[index] as number, slots.high[index] as number, head)
    }
    slots = larger
  }
  const headOf = (key: string): number => {
    const { low, high } = hashOf(key)
    return slots.heads[find(slots, low, high)] as number
  }
  return {
    add: (key, value) => {
      if (count === values.length) {
        values = doubled(values)
        previous = doubled(previous)
      }
      if (used > slots.heads.length * fullness) grow()
      const { low, high } = hashOf(key)
      const at = find(slots, low, high)
      const head = slots.heads[at] as number
      if (head === 0) used++
      values[count] = value
      previous[count] = head
      count++
      put(slots, at, low, high, count)
      return head === 0
    },
    of: (key, max) => {
      const found: number[] = []
      let entry = headOf(key)
      while (entry !== 0 && found.length < max) {
        found.push(values[entry - 1] as number)
        entry = previous[entry - 1] as number
      }
      return { values: found.toReversed(), more: entry !== 0 }
    },
    get bytes() {
      return values.byteLength + previous.byteLength + slots.heads.byteLength * 3
    },
  }
}

/** An open-addressed table; `heads` counts entries from 1, 0 is a free slot. */
type Slots = { readonly low: Uint32Array; readonly high: Uint32Array; readonly heads: Uint32Array }

function createSlots(size: number): Slots {
  return { low: new Uint32Array(size), high: new Uint32Array(size), heads: new Uint32Array(size) }
}

/** The slot of this hash, or the free one where it belongs. Sizes are powers of two. */
function find(slots: Slots, low: number, high: number): number {
  const mask = slots.heads.length - 1
  let at = low & mask
  while (slots.heads[at] !== 0 && (slots.low[at] !== low || slots.high[at] !== high)) at = (at + 1) & mask
  return at
}

function put(slots: Slots, at: number, low: number, high: number, head: number): void {
  slots.low[at] = low
  slots.high[at] = high
  slots.heads[at] = head
}

/** The same numbers with as much room again. */
export function doubled(array: Uint32Array): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(array.length * 2)
  larger.set(array)
  return larger
}
