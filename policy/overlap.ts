import type { Condition, Rule } from './rule.ts'
import { meetPatterns } from './sample-topic.ts'

/**
 * For each rule the others that could match a job together with it, by what is quick to compare. What this leaves out cannot
 * overlap; what it lets through still has to be asked.
 */
export function overlapping(rules: readonly Rule[]): (rule: Rule) => readonly Rule[] {
  const known = new Map<string, readonly Rule[]>()
  return (rule) => {
    const before = known.get(rule.id)
    if (before !== undefined) return before
    const found = rules.filter((other) => other !== rule && mayMeet(rule.match, other.match))
    known.set(rule.id, found)
    return found
  }
}

export function mayMeet(a: Condition, b: Condition): boolean {
  return (
    shareOne(a.tenants, b.tenants) &&
    shareOne(a.actors, b.actors) &&
    shareOne(a.actorTypes, b.actorTypes) &&
    shareOne(a.capabilities, b.capabilities) &&
    (a.topics === undefined ||
      b.topics === undefined ||
      a.topics.some((one) => b.topics?.some((other) => meetPatterns(one, other) !== undefined)))
  )
}

function shareOne(a: readonly string[] | undefined, b: readonly string[] | undefined): boolean {
  return a === undefined || b === undefined || a.some((word) => b.includes(word))
}
