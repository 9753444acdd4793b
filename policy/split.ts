import type { Check } from './check.ts'
import { absent } from './branch-table.ts'
import { dimension } from './vocabulary.ts'

/**
 * A rule on its way down the tree: the checks that the path has not yet answered, in how many places it stands, and whether
 * one job can come to it on several ways.
 */
export type Entry = {
  readonly rule: number
  readonly checks: readonly Check[]
  readonly copies: number
  readonly severalWays: boolean
}

/** A check that a node can branch on. */
type Branching = Extract<Check, { readonly dimension: number }>

/** A rule with lists of values stands once under each of them; beyond so many copies a list is looked at in the leaf instead. */
const copiesMax = 256

/** The check of an entry that a node can branch on in this dimension, if any. */
export function branchable(entry: Entry, of: number): Branching | undefined {
  for (const check of entry.checks) {
    if (check.dimension === of && entry.copies * check.ids.length <= copiesMax) return check
  }
  return undefined
}

/** The entry as it stands below the values of a check, and the values it stands below. */
export function childOf(entry: Entry, check: Branching): { child: Entry; values: readonly number[] } {
  const others = entry.checks.filter((other) => other !== check)
  const { ids } = check
  if (check.kind === 'all-tags') {
    // One of the tags that must all be there is enough to find the rule; the others are still to be checked.
    const checks: readonly Check[] = ids.length > 1 ? [...others, { ...check, ids: ids.slice(1) }] : others
    return { child: { ...entry, checks }, values: ids.slice(0, 1) }
  }
  const manyAtOnce = check.dimension === dimension.topic || check.dimension === dimension.tag
  const severalWays = entry.severalWays || (manyAtOnce && ids.length > 1)
  return {
    child: { rule: entry.rule, checks: others, copies: entry.copies * ids.length, severalWays },
    values: ids,
  }
}

/** After so many rules have been looked at, whoever makes a tree pauses. */
export const rulesPerStep = 500

/** The dimension that leaves the fewest rules to look at for a job of typical values, or `absent` if none helps. */
export function* bestDimension(entries: readonly Entry[]): Generator<undefined, number> {
  const counts = new Map<number, Count>()
  for (const [at, entry] of entries.entries()) {
    if (at % rulesPerStep === rulesPerStep - 1) yield
    let before = absent
    for (const check of entry.checks) {
      const of = check.dimension
      if (of === null || of === before || entry.copies * check.ids.length > copiesMax) continue
      before = of
      let count = counts.get(of)
      if (count === undefined)
        counts.set(of, (count = { covered: 0, copies: 0, squares: 0, sizes: new Map() }))
      add(count, check.kind === 'all-tags' ? check.ids.slice(0, 1) : check.ids)
    }
  }
  let best: number = absent
  let bestCost = Infinity
  for (const [of, { covered, copies, squares }] of counts) {
    const cost = entries.length - covered + squares / copies
    if (cost < bestCost) {
      best = of
      bestCost = cost
    }
  }
  return best
}

/** Of one dimension: how many entries name it, in how many copies, and the sum of the squares of the branches' sizes. */
type Count = { covered: number; copies: number; squares: number; readonly sizes: Map<number, number> }

function add(count: Count, ids: readonly number[]): void {
  count.covered++
  for (const id of ids) {
    const size = count.sizes.get(id) ?? 0
    count.sizes.set(id, size + 1)
    count.copies++
    count.squares += 2 * size + 1
  }
}
