import type { Job } from './job.ts'
import { inRange, payloadHolds, type PayloadCondition } from './payload.ts'
import type { Condition, LabelCondition } from './rule.ts'
import { windowHolds, type TimeWindow } from './time-window.ts'
import { dimension, noTags, type Vocabulary } from './vocabulary.ts'

/** One question about a job, over numbers where the vocabulary has them. */
export type Check =
  | {
      readonly kind: 'word' | 'topic' | 'any-tag' | 'all-tags'
      readonly dimension: number
      readonly ids: readonly number[]
    }
  | { readonly kind: 'untagged'; readonly dimension: number; readonly ids: readonly number[] }
  /** These have no values that a tree could branch on. */
  | { readonly kind: 'no-such-tag'; readonly dimension: null; readonly ids: readonly number[] }
  | { readonly kind: 'other'; readonly dimension: null; readonly holds: (job: Job) => boolean }

/** What a record must keep as a truth value: a payload cannot be stored, and a zone's rules change over the years. */
export type Atom =
  | { readonly id: string; readonly payload: PayloadCondition; readonly time: null }
  | { readonly id: string; readonly payload: null; readonly time: TimeWindow }

/** A condition as questions: `checks` first, and if all hold, every one of the `atoms`. */
export type Checks = { readonly checks: readonly Check[]; readonly atoms: readonly Atom[] }

export function checksOf(condition: Condition, vocabulary: Vocabulary): Checks {
  const { topics, tenants, actors, actorTypes, capabilities, riskTags, labels, payload, size, time } =
    condition
  const numbers = (of: number, words: readonly string[]) =>
    words.map((word) => vocabulary.wordNumber(of, word))
  const checks: Check[] = []
  const add = (kind: 'word' | 'topic' | 'any-tag' | 'all-tags', of: number, words: readonly string[]) => {
    checks.push({ kind, dimension: of, ids: numbers(of, words) })
  }
  if (topics !== undefined) add('topic', dimension.topic, topics)
  if (tenants !== undefined) add('word', dimension.tenant, tenants)
  if (actors !== undefined) add('word', dimension.actor, actors)
  if (capabilities !== undefined) add('word', dimension.capability, capabilities)
  if (riskTags?.empty === true) checks.push({ kind: 'untagged', dimension: dimension.tag, ids: [noTags] })
  if (riskTags?.any !== undefined) add('any-tag', dimension.tag, riskTags.any)
  if (riskTags?.all !== undefined) add('all-tags', dimension.tag, riskTags.all)
  if (riskTags?.none !== undefined) {
    checks.push({ kind: 'no-such-tag', dimension: null, ids: numbers(dimension.tag, riskTags.none) })
  }
  for (const label of labels ?? []) {
    if (label.kind === 'one_of') add('word', vocabulary.labelDimension(label.key), label.values)
    else checks.push(otherCheck((job) => labelHolds(label, job)))
  }
  if (actorTypes !== undefined)
    checks.push(otherCheck((job) => actorTypes.includes(job.actorType ?? 'agent')))
  if (size !== undefined) checks.push(otherCheck((job) => inRange(size, job.bytes)))
  const atoms: Atom[] = (payload ?? []).map((asked) => ({ id: asked.id, payload: asked, time: null }))
  if (time !== undefined) atoms.push({ id: time.id, payload: null, time })
  return { checks, atoms }
}

function otherCheck(holds: (job: Job) => boolean): Check {
  return { kind: 'other', dimension: null, holds }
}

export function labelHolds(label: LabelCondition, job: Pick<Job, 'labels'>): boolean {
  const value = job.labels.get(label.key)
  switch (label.kind) {
    case 'one_of':
      return value !== undefined && label.values.includes(value)
    case 'prefix':
      return value !== undefined && value.startsWith(label.prefix)
    case 'present':
      return (value !== undefined) === label.present
  }
}

export function atomHolds(atom: Atom, job: Job, nowMs: number): boolean {
  return atom.payload === null ? windowHolds(atom.time, nowMs) : payloadHolds(atom.payload, job.payload)
}
