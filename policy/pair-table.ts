/** The answer of a pair table for a pair that it does not have. */
export const absent = -1

/** Numbers per slot: two keys, a value, and one unused so that a slot never lies across two cache lines. */
const stride = 4

/**
 * A map from two small numbers to a third, in one flat array: an edge table for trees with very many nodes. Filled while a
 * policy is compiled and then only read; nothing that a job says is ever put in, so a job cannot make it slow.
 */
export class PairTable {
  private slots = new Int32Array(64 * stride).fill(absent)
  private mask = 63
  private used = 0

  /** The value for the pair, or `absent` (-1). Both numbers must be from 0 to 2^31 - 1. */
  get(first: number, second: number): number {
    const { slots, mask } = this
    for (let slot = hash(first, second) & mask; ; slot = (slot + 1) & mask) {
      const at = slot * stride
      const key = slots[at]
      if (key === absent) return absent
      if (key === first && slots[at + 1] === second) return slots[at + 2] ?? absent
    }
  }

  set(first: number, second: number, value: number): void {
    // At most half full, so that a probe ends soon and always ends.
    if ((this.used + 1) * 2 > this.mask + 1) this.grow()
    this.used++
    this.put(first, second, value)
  }

  private put(first: number, second: number, value: number): void {
    const { slots, mask } = this
    let slot = hash(first, second) & mask
    while (slots[slot * stride] !== absent) slot = (slot + 1) & mask
    slots[slot * stride] = first
    slots[slot * stride + 1] = second
    slots[slot * stride + 2] = value
  }

  private grow(): void {
    const old = this.slots
    this.mask = this.mask * 2 + 1
    this.slots = new Int32Array((this.mask + 1) * stride).fill(absent)
    for (let at = 0; at < old.length; at += stride) {
      if (old[at] !== absent) this.put(old[at] ?? 0, old[at + 1] ?? 0, old[at + 2] ?? 0)
    }
  }
}

function hash(first: number, second: number): number {
  let mixed = Math.imul(first, 0x9e3779b1) ^ Math.imul(second, 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d)
  return mixed ^ (mixed >>> 13)
}
