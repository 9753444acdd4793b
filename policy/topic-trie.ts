import { absent, PairTable } from './pair-table.ts'
import { TokenTable } from './token-table.ts'

/** A node's numbers: the node below `*`, the pattern that ends here, and the one that ends here with `>`. */
const stride = 4
const starAt = 0
const exactAt = 1
const restAt = 2

/**
 * All topic patterns of a policy in one tree of tokens. One walk over a topic finds every pattern that covers it, in time that
 * depends on the patterns' depth and not on the topic's length, and without making a string.
 */
export class TopicTrie {
  private readonly edges = new PairTable()
  private readonly tokens = new TokenTable()
  private nodes = new Int32Array(64 * stride).fill(absent)
  private nodeCount = 1
  private readonly ids = new Map<string, number>()
  private readonly buffers: [number[], number[]] = [[], []]

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
        this.nodes[node * stride + restAt] = id
        return id
      }
      node = token === '*' ? this.starBelow(node) : this.tokenBelow(node, token)
    }
    this.nodes[node * stride + exactAt] = id
    return id
  }

  /** Puts the numbers of all patterns that cover the topic into `found` (emptied first). */
  walk(topic: string, found: number[]): void {
    found.length = 0
    const { nodes, tokens, edges } = this
    let [frontier, next] = this.buffers
    // Counted by hand: to empty an array by its length is a call into the runtime.
    let count = 1
    frontier[0] = 0
    let isLast = false
    for (let start = 0; count > 0 && !isLast; start = tokens.end + 1) {
      const token = tokens.find(topic, start)
      isLast = tokens.end === topic.length
      let nextCount = 0
      for (let index = 0; index < count; index++) {
        const node = frontier[index] ?? 0
        const rest = nodes[node * stride + restAt] ?? absent
        if (rest !== absent) found.push(rest)
        const below = token === absent ? absent : edges.get(node, token)
        if (below !== absent) next[nextCount++] = below
        const star = nodes[node * stride + starAt] ?? absent
        if (star !== absent) next[nextCount++] = star
      }
      const spare = frontier
      frontier = next
      next = spare
      count = nextCount
    }
    for (let index = 0; index < count; index++) {
      const exact = nodes[(frontier[index] ?? 0) * stride + exactAt] ?? absent
      if (exact !== absent) found.push(exact)
    }
  }

  private starBelow(node: number): number {
    const known = this.nodes[node * stride + starAt] ?? absent
    if (known !== absent) return known
    const made = this.addNode()
    this.nodes[node * stride + starAt] = made
    return made
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
    const node = this.nodeCount++
    if (this.nodeCount * stride > this.nodes.length) {
      const larger = new Int32Array(this.nodes.length * 2).fill(absent)
      larger.set(this.nodes)
      this.nodes = larger
    }
    return node
  }
}
