import { absent } from './pair-table.ts'

/** A token in a pattern has at most 64 characters, so of a longer one in a topic no more need be read. */
const tokenCharsMax = 64
const dot = 0x2e

/**
 * Topic tokens as numbers. A topic's tokens are looked up in place, without cutting them out, and compared in full: two
 * tokens never share a number.
 */
export class TokenTable {
  private texts: string[] = Array.from({ length: 64 }, () => '')
  private numbers = new Int32Array(64).fill(absent)
  private mask = 63
  private count = 0
  /** Where the token that `find` looked at ends. */
  end = 0

  /** The number of a token (1 to 64 characters), which is added if it is new. */
  add(text: string): number {
    const known = this.find(text, 0)
    if (known !== absent) return known
    if ((this.count + 1) * 2 > this.mask + 1) this.grow()
    this.put(text, this.count)
    return this.count++
  }

  /** The number of the token that begins at `start`, or `absent`. Sets `end`. */
  find(topic: string, start: number): number {
    let hash = seed
    let end = start
    // FNV-1a. Beyond the longest token of a pattern only the end is looked for.
    for (; end < topic.length; end++) {
      const character = topic.charCodeAt(end)
      if (character === dot) break
      if (end - start <= tokenCharsMax) hash = Math.imul(hash ^ character, prime)
    }
    this.end = end
    for (let slot = (hash ^ (hash >>> 15)) & this.mask; ; slot = (slot + 1) & this.mask) {
      const number = this.numbers[slot] ?? absent
      if (number === absent) return absent
      const text = this.texts[slot] ?? ''
      if (text.length === end - start && same(text, topic, start)) return number
    }
  }

  private put(text: string, number: number): void {
    let hash = seed
    for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), prime)
    let slot = (hash ^ (hash >>> 15)) & this.mask
    while (this.numbers[slot] !== absent) slot = (slot + 1) & this.mask
    this.texts[slot] = text
    this.numbers[slot] = number
  }

  private grow(): void {
    const { texts, numbers } = this
    this.mask = this.mask * 2 + 1
    this.texts = Array.from({ length: this.mask + 1 }, () => '')
    this.numbers = new Int32Array(this.mask + 1).fill(absent)
    for (const [slot, number] of numbers.entries()) if (number !== absent) this.put(texts[slot] ?? '', number)
  }
}

const seed = 0x811c9dc5
const prime = 0x01000193

function same(text: string, topic: string, start: number): boolean {
  for (let at = 0; at < text.length; at++) {
    if (text.charCodeAt(at) !== topic.charCodeAt(start + at)) return false
  }
  return true
}
