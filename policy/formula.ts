import { atomHolds, labelHolds } from './check.ts'
import type { Job } from './job.ts'
import { inRange, type PayloadCondition, type Range } from './payload.ts'
import type { Condition, Cover, Derivation, LabelCondition } from './rule.ts'
import type { TimeWindow } from './time-window.ts'
import { subjectMatches } from './topic.ts'

/** One question about a job and the answer that is wanted. `of` names the attribute, and with it the kind of the question. */
export type Literal =
  | { readonly of: 'topic'; readonly patterns: readonly string[]; readonly holds: boolean }
  | { readonly of: WordOf; readonly words: readonly string[]; readonly holds: boolean }
  /** The agent itself names this tag. */
  | { readonly of: 'declared'; readonly tag: string; readonly holds: boolean }
  /** The agent names any tag at all. */
  | { readonly of: 'declaring'; readonly holds: boolean }
  | { readonly of: 'label'; readonly test: LabelCondition; readonly holds: boolean }
  | { readonly of: 'payload'; readonly test: PayloadCondition; readonly holds: boolean }
  | { readonly of: 'size'; readonly range: Range; readonly holds: boolean }
  | { readonly of: 'time'; readonly window: TimeWindow; readonly holds: boolean }

export type WordOf = 'tenant' | 'actor' | 'actorType' | 'capability'

/** Literals under "all of" and "any of"; "not" has been pushed down into the literals. */
export type Formula = Literal | { readonly all: readonly Formula[] } | { readonly any: readonly Formula[] }

/** When a rule (or derivation) covers a job. Tags are those that the job has under these derivations. */
export function coverFormula(cover: Cover, derivations: readonly Derivation[]): Formula {
  const match = conditionFormula(cover.match, derivations)
  if (cover.unless === null) return match
  return { all: [match, not(conditionFormula(cover.unless, derivations))] }
}

export function not(formula: Formula): Formula {
  if ('all' in formula) return { any: formula.all.map(not) }
  if ('any' in formula) return { all: formula.any.map(not) }
  return { ...formula, holds: !formula.holds }
}

/** One part of a condition and what it asks; the name is that of the policy file. */
export type Clause = { readonly name: ClauseName; readonly formula: Formula }
export type ClauseName =
  | 'topics'
  | 'tenants'
  | 'actors'
  | 'actor_types'
  | 'capabilities'
  | 'risk_tags'
  | `labels.${string}`
  | `payload.${string}`
  | 'size'
  | 'time'

/** The parts of a condition; all must hold. */
export function clausesOf(condition: Condition, derivations: readonly Derivation[]): readonly Clause[] {
  const { topics, tenants, actors, actorTypes, capabilities, labels, payload, size, time } = condition
  const clauses: Clause[] = []
  const words = (name: ClauseName, of: WordOf, list: readonly string[] | undefined): void => {
    if (list !== undefined) clauses.push({ name, formula: { of, words: list, holds: true } })
  }
  if (topics !== undefined)
    clauses.push({ name: 'topics', formula: { of: 'topic', patterns: topics, holds: true } })
  words('tenants', 'tenant', tenants)
  words('actors', 'actor', actors)
  words('actor_types', 'actorType', actorTypes)
  words('capabilities', 'capability', capabilities)
  const tags = tagsFormula(condition, derivations)
  if (tags !== undefined) clauses.push({ name: 'risk_tags', formula: tags })
  for (const test of labels ?? [])
    clauses.push({ name: `labels.${test.key}`, formula: { of: 'label', test, holds: true } })
  for (const test of payload ?? [])
    clauses.push({ name: `payload.${test.pointer}`, formula: { of: 'payload', test, holds: true } })
  if (size !== undefined) clauses.push({ name: 'size', formula: { of: 'size', range: size, holds: true } })
  if (time !== undefined) clauses.push({ name: 'time', formula: { of: 'time', window: time, holds: true } })
  return clauses
}

/** The job has this tag: because the agent says so, or because a derivation adds it. */
export function taggedFormula(tag: string, derivations: readonly Derivation[]): Formula {
  const adding = derivations.filter(({ add }) => add.includes(tag))
  return { any: [{ of: 'declared', tag, holds: true }, ...adding.map((one) => coverFormula(one, []))] }
}

export function formulaHolds(formula: Formula, job: Job, nowMs: number): boolean {
  if ('all' in formula) return formula.all.every((part) => formulaHolds(part, job, nowMs))
  if ('any' in formula) return formula.any.some((part) => formulaHolds(part, job, nowMs))
  return answer(formula, job, nowMs) === formula.holds
}

function conditionFormula(condition: Condition, derivations: readonly Derivation[]): Formula {
  return { all: clausesOf(condition, derivations).map(({ formula }) => formula) }
}

function tagsFormula({ riskTags }: Condition, derivations: readonly Derivation[]): Formula | undefined {
  if (riskTags === undefined) return undefined
  const tagged = (tag: string): Formula => taggedFormula(tag, derivations)
  const parts: Formula[] = []
  if (riskTags.empty === true) {
    const added = derivations.map((one) => not(coverFormula(one, [])))
    parts.push({ of: 'declaring', holds: false }, ...added)
  }
  if (riskTags.any !== undefined) parts.push({ any: riskTags.any.map(tagged) })
  if (riskTags.all !== undefined) parts.push(...riskTags.all.map(tagged))
  if (riskTags.none !== undefined) parts.push(...riskTags.none.map((tag) => not(tagged(tag))))
  return { all: parts }
}

function answer(literal: Literal, job: Job, nowMs: number): boolean {
  switch (literal.of) {
    case 'topic':
      return literal.patterns.some((pattern) => subjectMatches(pattern, job.topic))
    case 'tenant':
      return literal.words.includes(job.tenant)
    case 'actor':
      return literal.words.includes(job.agent)
    case 'actorType':
      return literal.words.includes(job.actorType ?? 'agent')
    case 'capability':
      return job.capability !== undefined && literal.words.includes(job.capability)
    case 'declared':
      return job.riskTags.includes(literal.tag)
    case 'declaring':
      return job.riskTags.length > 0
    case 'label':
      return labelHolds(literal.test, job)
    case 'payload':
      return atomHolds({ id: literal.test.id, payload: literal.test, time: null }, job, nowMs)
    case 'size':
      return inRange(literal.range, job.bytes)
    case 'time':
      return atomHolds({ id: literal.window.id, payload: null, time: literal.window }, job, nowMs)
  }
}
