import type { Literal, WordOf } from './formula.ts'
import { jobBytesMax, type Job } from './job.ts'
import { inRange } from './payload.ts'
import type { ActorType } from './rule.ts'
import { labelHolds } from './check.ts'
import { samplePayload } from './sample-payload.ts'
import { sampleTime, usualMs } from './sample-time.ts'
import { meetPatterns, sampleTopic } from './sample-topic.ts'
import { labelSamples, numberSamples } from './sample-value.ts'

/** What has been assumed about a job so far: literals, each with one topic pattern at most. Never changed, only extended. */
export type Assumed = readonly Literal[]

/** A job and the moment that goes with it. */
export type Sample = { readonly job: Job; readonly nowMs: number }

/** A job of which everything assumed is true. `none` is exact; `unsure` says that the search for one gave up. */
export function sampleOf(assumed: Assumed): Sample | 'none' | 'unsure' {
  const topic = topicOf(assumed)
  const tags = tagsOf(assumed)
  const labels = labelsOf(assumed)
  const [tenant, agent, actorType, capability] = wordOrder.map((of) => wordFor(assumed, of))
  if (topic === undefined || tags === undefined || labels === undefined) return 'none'
  if (tenant === undefined || agent === undefined || actorType === undefined || capability === undefined)
    return 'none'
  const payload = samplePayload(assumed.filter((one) => one.of === 'payload'))
  const nowMs = timeOf(assumed)
  if (payload === 'none' || nowMs === 'none') return 'none'
  if (payload === 'unsure' || nowMs === 'unsure') return 'unsure'
  const job: Job = {
    topic,
    tenant: tenant ?? '',
    agent: agent ?? '',
    ...(actorType === null || actorType === 'agent' ? {} : { actorType: actorType as ActorType }),
    riskTags: tags,
    labels,
    ...(capability === null ? {} : { capability }),
    payload: payload.value,
    bytes: 0,
  }
  const bytes = sizeOf(assumed, Buffer.byteLength(JSON.stringify(bodyOf(job))))
  return typeof bytes === 'string' ? bytes : { job: { ...job, bytes }, nowMs }
}

/** What an agent would send to make this job. */
export function bodyOf(job: Job): Record<string, unknown> {
  return {
    topic: job.topic,
    ...(job.riskTags.length === 0 ? {} : { risk_tags: job.riskTags }),
    ...(job.labels.size === 0 ? {} : { labels: Object.fromEntries(job.labels) }),
    ...(job.capability === undefined ? {} : { capability: job.capability }),
    ...(job.payload === undefined ? {} : { payload: job.payload }),
  }
}

const wordOrder = ['tenant', 'actor', 'actorType', 'capability'] as const

function topicOf(assumed: Assumed): string | undefined {
  let pattern: string | undefined = 'job.>'
  const excluded: string[] = []
  for (const one of assumed) {
    if (one.of !== 'topic') continue
    if (!one.holds) excluded.push(...one.patterns)
    else if (pattern !== undefined) pattern = meetPatterns(pattern, one.patterns[0] ?? 'job.>')
  }
  return pattern === undefined ? undefined : sampleTopic(pattern, excluded)
}

/** A word that is one of all wanted lists and of no unwanted one; null is a job without one, which only a capability may be. */
function wordFor(assumed: Assumed, of: WordOf): string | null | undefined {
  const unwanted = new Set<string>()
  let wanted: readonly string[] | undefined
  for (const one of assumed) {
    if (one.of !== of) continue
    if (!one.holds) for (const word of one.words) unwanted.add(word)
    else if (wanted === undefined) wanted = one.words
    else wanted = wanted.filter((word) => one.words.includes(word))
  }
  if (wanted !== undefined) return wanted.find((word) => !unwanted.has(word))
  if (of === 'capability') return null
  const usual = of === 'actorType' ? ['agent', 'human', 'service'] : [of === 'tenant' ? 'default' : 'demo']
  const free = usual.find((word) => !unwanted.has(word))
  if (free !== undefined || of === 'actorType') return free
  for (let count = 1; ; count++) if (!unwanted.has(`${of}-${count}`)) return `${of}-${count}`
}

const tagNobodyNames = 'some-tag'

function tagsOf(assumed: Assumed): readonly string[] | undefined {
  const declared = new Set<string>()
  const absent = new Set<string>()
  let any: boolean | undefined
  for (const one of assumed) {
    if (one.of === 'declared') (one.holds ? declared : absent).add(one.tag)
    if (one.of !== 'declaring') continue
    if (any !== undefined && any !== one.holds) return undefined
    any = one.holds
  }
  if ([...declared].some((tag) => absent.has(tag))) return undefined
  if (any === false && declared.size > 0) return undefined
  if (any === true && declared.size === 0) {
    let fresh = tagNobodyNames
    while (absent.has(fresh)) fresh += '-'
    declared.add(fresh)
  }
  return [...declared].toSorted()
}

function labelsOf(assumed: Assumed): ReadonlyMap<string, string> | undefined {
  const asked = assumed.filter((one) => one.of === 'label')
  const labels = new Map<string, string>()
  for (const key of new Set(asked.map(({ test }) => test.key))) {
    const here = asked.filter(({ test }) => test.key === key)
    const found = labelSamples(here.map(({ test }) => test)).find((value) => {
      const job = { labels: new Map(value === undefined ? [] : [[key, value]]) }
      return here.every(({ test, holds }) => labelHolds(test, job) === holds)
    })
    const possible = here.every(({ test, holds }) => labelHolds(test, { labels: new Map() }) === holds)
    if (possible) continue
    if (found === undefined) return undefined
    labels.set(key, found)
  }
  return labels
}

/** The smallest size that will do; a job cannot be smaller than what it says. */
function sizeOf(assumed: Assumed, least: number): number | 'none' | 'unsure' {
  const asked = assumed.filter((one) => one.of === 'size')
  const fits = (bytes: number): boolean => asked.every(({ range, holds }) => inRange(range, bytes) === holds)
  if (fits(least)) return least
  const ranges = asked.map(({ range }) => range)
  const possible = numberSamples(ranges, [], true).filter(
    (bytes) => bytes >= 0 && bytes <= jobBytesMax && fits(bytes),
  )
  // One that would fit but is smaller than this job: perhaps a shorter job exists, perhaps not.
  return Math.min(...possible.filter((bytes) => bytes > least)) < Infinity
    ? Math.min(...possible.filter((bytes) => bytes > least))
    : possible.length > 0
      ? 'unsure'
      : 'none'
}

function timeOf(assumed: Assumed): number | 'none' | 'unsure' {
  const asked = assumed.filter((one) => one.of === 'time')
  return asked.length === 0 ? usualMs : sampleTime(asked)
}
