import { absent, PairTable } from './pair-table.ts'

/**
 * All topic patterns of a policy in one tree of tokens. One walk over a topic finds every pattern that covers it, in time that
 * depends on the patterns' depth and not on the topic's length, and without making a string.
 */
export class TopicTrie {
  private readonly edges = new PairTable()
  private readonly tokens = new TokenTable()
  private readonly star: number[] = [absent]
  /** The pattern that ends at a node, and the one that ends there with `>`. */
  private readonly exact: number[] = [absent]
  private readonly rest: number[] = [absent]
  private readonly ids = new Map<string, number>()
  private frontier: number[] = []
  private next: number[] = []

  get patternCount(): number {
    return this.ids.size
  }

  /** The number of a pattern, which is added if it is new. */
  add(pattern: string): number {
    const known = this.ids.get(pattern)
    if (known !== undefined) return known
    const id = this.ids.size
    this.ids.set(pattern, id)
    let node = 0
    for (const token of pattern.split('.')) {
      if (token === '>') {
        this.rest[node] = id
        return id
      }
      node = token === '*' ? this.starBelow(node) : this.tokenBelow(node, token)
    }
    this.exact[node] = id
    return id
  }

  /** Puts the numbers of all patterns that cover the topic into `found` (emptied first). */
  walk(topic: string, found: number[]): void {
    found.length = 0
    let frontier = this.frontier
    let next = this.next
    frontier.length = 0
    frontier.push(0)
    for (let start = 0; frontier.length > 0;) {
      const end = tokenEnd(topic, start)
      const token = this.tokens.find(topic, start, end)
      const last = end === topic.length
      next.length = 0
      for (const node of frontier) {
        const rest = this.rest[node] ?? absent
        if (rest !== absent) found.push(rest)
        const below = token === absent ? absent : this.edges.get(node, token)
        if (below !== absent) next.push(below)
        const star = this.star[node] ?? absent
        if (star !== absent) next.push(star)
      }
      if (last) {
        for (const node of next) if (this.exact[node] !== absent) found.push(this.exact[node] ?? absent)
        return
      }
      start = end + 1
      const spare = frontier
      frontier = next
      next = spare
    }
  }

  private starBelow(node: number): number {
    const known = this.star[node] ?? absent
    if (known !== absent) return known
    return (this.star[node] = this.addNode())
  }

  private tokenBelow(node: number, text: string): number {
    const token = this.tokens.add(text)
    const known = this.edges.get(node, token)
    if (known !== absent) return known
    const made = this.addNode()
    this.edges.set(node, token, made)
    return made
  }

  private addNode(): number {
    this.star.push(absent)
    this.exact.push(absent)
    this.rest.push(absent)
    return this.star.length - 1
  }
}

const dot = 0x2e

function tokenEnd(topic: string, start: number): number {
  let end = start
  while (end < topic.length && topic.charCodeAt(end) !== dot) end++
  return end
}

/** Tokens by their characters, compared in full: a topic's tokens are looked up in place, without cutting them out. */
class TokenTable {
  private texts: (string | undefined)[] = Array.from({ length: 64 })
  private numbers = new Int32Array(64)
  private mask = 63
  private count = 0

  add(text: string): number {
    const known = this.find(text, 0, text.length)
    if (known !== absent) return known
    if ((this.count + 1) * 2 > this.mask + 1) this.grow()
    this.put(text, this.count)
    return this.count++
  }

  find(topic: string, start: number, end: number): number {
    for (let slot = hashOf(topic, start, end) & this.mask; ; slot = (slot + 1) & this.mask) {
      const text = this.texts[slot]
      if (text === undefined) return absent
      if (text.length === end - start && same(text, topic, start)) return this.numbers[slot] ?? absent
    }
  }

  private put(text: string, number: number): void {
    let slot = hashOf(text, 0, text.length) & this.mask
    while (this.texts[slot] !== undefined) slot = (slot + 1) & this.mask
    this.texts[slot] = text
    this.numbers[slot] = number
  }

  private grow(): void {
    const { texts, numbers } = this
    this.mask = this.mask * 2 + 1
    this.texts = Array.from({ length: this.mask + 1 })
    this.numbers = new Int32Array(this.mask + 1)
    for (const [slot, text] of texts.entries())
      if (text !== undefined) this.put(text, numbers[slot] ?? absent)
  }
}

/** FNV-1a over the characters. A token in a pattern has at most 64 of them, so longer ones need not be read to the end. */
function hashOf(text: string, start: number, end: number): number {
  let hash = 0x811c9dc5
  const stop = Math.min(end, start + 65)
  for (let at = start; at < stop; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return hash ^ (hash >>> 15)
}

function same(text: string, topic: string, start: number): boolean {
  for (let at = 0; at < text.length; at++) {
    if (text.charCodeAt(at) !== topic.charCodeAt(start + at)) return false
  }
  return true
}
