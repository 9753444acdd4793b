import { absent } from './branch-table.ts'

/** A token in a pattern has at most 64 characters, so of a longer one in a topic no more need be read. */
const tokenCharsMax = 64
const dot = 0x2e

/** A slot's numbers: hash, the token's number or `absent`, where its characters begin, and how many they are. */
const stride = 4

/**
 * Topic tokens as numbers. A topic's tokens are looked up in place, without cutting them out, and compared in full: two
 * tokens never share a number.
 */
export class TokenTable {
  private slots = new Int32Array(64 * stride).fill(absent)
  private mask = 63
  private characters = new Uint16Array(256)
  private used = 0
  private count = 0
  /** Where the token that `find` looked at ends. */
  end = 0

  /** The number of a token (1 to 64 characters), which is added if it is new. */
  add(text: string): number {
    const known = this.find(text, 0)
    if (known !== absent) return known
    if ((this.count + 1) * 2 > this.mask + 1) this.growSlots()
    if (this.used + text.length > this.characters.length) {
      const larger = new Uint16Array(this.characters.length * 2)
      larger.set(this.characters)
      this.characters = larger
    }
    let hash = seed
    for (let at = 0; at < text.length; at++) {
      hash = Math.imul(hash ^ text.charCodeAt(at), prime)
      this.characters[this.used + at] = text.charCodeAt(at)
    }
    this.put(hash, this.count, this.used, text.length)
    this.used += text.length
    return this.count++
  }

  /** The number of the token that begins at `start`, or `absent`. Sets `end`. */
  find(topic: string, start: number): number {
    const { slots, mask } = this
    let hash = seed
    let end = start
    // FNV-1a. Beyond the longest token of a pattern only the end is looked for.
    for (; end < topic.length; end++) {
      const character = topic.charCodeAt(end)
      if (character === dot) break
      if (end - start <= tokenCharsMax) hash = Math.imul(hash ^ character, prime)
    }
    this.end = end
    for (let slot = (hash ^ (hash >>> 15)) & mask; ; slot = (slot + 1) & mask) {
      const at = slot * stride
      const number = slots[at + 1] ?? absent
      if (number === absent) return absent
      if (
        slots[at] === hash &&
        slots[at + 3] === end - start &&
        this.isSame(slots[at + 2] ?? 0, topic, start)
      )
        return number
    }
  }

  /** Only for the end of the token. */
  skip(topic: string, start: number): void {
    const found = topic.indexOf('.', start)
    this.end = found === -1 ? topic.length : found
  }

  private isSame(begin: number, topic: string, start: number): boolean {
    const { characters, end } = this
    for (let at = start; at < end; at++)
      if (characters[begin + at - start] !== topic.charCodeAt(at)) return false
    return true
  }

  private put(hash: number, number: number, begin: number, length: number): void {
    let slot = (hash ^ (hash >>> 15)) & this.mask
    while (this.slots[slot * stride + 1] !== absent) slot = (slot + 1) & this.mask
    this.slots.set([hash, number, begin, length], slot * stride)
  }

  private growSlots(): void {
    const old = this.slots
    this.mask = this.mask * 2 + 1
    this.slots = new Int32Array((this.mask + 1) * stride).fill(absent)
    for (let at = 0; at < old.length; at += stride) {
      const [hash = 0, number = absent, begin = 0, length = 0] = old.subarray(at, at + stride)
      if (number !== absent) this.put(hash, number, begin, length)
    }
  }
}

const seed = 0x811c9dc5
const prime = 0x01000193
