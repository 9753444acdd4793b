import { absent, readTable, writeTable } from './branch-table.ts'
import type { NumberList } from './number-list.ts'
import { TokenTable } from './token-table.ts'

/** How every topic begins, and every pattern. */
const prefix = 'job.'

/** A node while patterns are added. The numbers are those of patterns, or `absent`. */
type Node = { star: Node | null; exact: number; rest: number; readonly below: Map<number, Node> }

/** A node's numbers: the node below `*`, the pattern that ends here, the one that ends here with `>`, 1 if a table of tokens follows. */
const starAt = 0
const exactAt = 1
const restAt = 2
const hasTableAt = 3
const tableAt = 4

/**
 * All topic patterns of a policy in one tree of tokens. One walk over a topic finds every pattern that covers it, in time that
 * depends on the patterns' depth and not on the topic's length, and without making a string.
 */
export class TopicTrie {
  private readonly tokens = new TokenTable()
  private readonly root = emptyNode()
  private readonly ids = new Map<string, number>()
  private nodes = new Int32Array(0)
  private rootAt = 0
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
    let node = this.root
    for (const token of pattern.slice(prefix.length).split('.')) {
      if (token === '>') {
        node.rest = id
        return id
      }
      node = token === '*' ? (node.star ??= emptyNode()) : this.below(node, token)
    }
    node.exact = id
    return id
  }

  /** Ends the adding: from here on the tree is only walked. */
  *close(): Generator<undefined, void> {
    const row: number[] = []
    this.rootAt = yield* write(this.root, row)
    this.nodes = new Int32Array(row)
  }

  /** Puts the numbers of all patterns that cover the topic into `found` (emptied first). */
  walk(topic: string, found: NumberList): void {
    found.clear()
    if (!topic.startsWith(prefix)) return
    const { nodes, tokens } = this
    let [frontier, next] = this.buffers
    // Counted by hand: to empty an array by its length is a call into the runtime.
    let count = 1
    frontier[0] = this.rootAt
    let isLast = false
    for (let start = prefix.length; count > 0 && !isLast; start = tokens.end + 1) {
      const token = this.tokenAt(topic, start, frontier, count)
      isLast = tokens.end === topic.length
      let nextCount = 0
      for (let index = 0; index < count; index++) {
        const node = frontier[index] ?? 0
        const rest = nodes[node + restAt] ?? absent
        if (rest !== absent) found.add(rest)
        if (token !== absent && nodes[node + hasTableAt] === 1) {
          const below = readTable(nodes, node + tableAt, token)
          if (below !== absent) next[nextCount++] = below
        }
        const star = nodes[node + starAt] ?? absent
        if (star !== absent) next[nextCount++] = star
      }
      const spare = frontier
      frontier = next
      next = spare
      count = nextCount
    }
    for (let index = 0; index < count; index++) {
      const exact = nodes[(frontier[index] ?? 0) + exactAt] ?? absent
      if (exact !== absent) found.add(exact)
    }
  }

  /** The number of the token that begins at `start`; where no node asks for one, only its end is looked for. */
  private tokenAt(topic: string, start: number, frontier: readonly number[], count: number): number {
    for (let index = 0; index < count; index++)
      if (this.nodes[(frontier[index] ?? 0) + hasTableAt] === 1) return this.tokens.find(topic, start)
    this.tokens.skip(topic, start)
    return absent
  }

  private below(node: Node, text: string): Node {
    const token = this.tokens.add(text)
    const known = node.below.get(token)
    if (known !== undefined) return known
    const made = emptyNode()
    node.below.set(token, made)
    return made
  }
}

function emptyNode(): Node {
  return { star: null, exact: absent, rest: absent, below: new Map() }
}

/** A pause after every so many numbers. */
const numbersPerStep = 4_096

/** Writes a node behind all that is below it; returns its place. Patterns have at most 16 tokens, so this does not go deep. */
function* write({ star, exact, rest, below }: Node, row: number[]): Generator<undefined, number> {
  const starPlace = star === null ? absent : yield* write(star, row)
  const places = new Map<number, number>()
  for (const [token, node] of below) {
    const before = row.length
    places.set(token, yield* write(node, row))
    if (Math.floor(before / numbersPerStep) !== Math.floor(row.length / numbersPerStep)) yield
  }
  const place = row.length
  row.push(starPlace, exact, rest, below.size > 0 ? 1 : 0)
  if (below.size > 0) writeTable(row, places)
  return place
}
