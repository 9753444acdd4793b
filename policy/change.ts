import { formulaHolds, type Clause, type Formula, type Literal } from './formula.ts'
import type { Job } from './job.ts'
import { sampleOf, type Sample } from './partial-job.ts'
import { placed } from './sample-payload.ts'

/** One edit of a job, in words and as a function. It never takes a risk tag away. */
export type Change = { readonly text: string; apply(sample: Sample): Sample }

/** The smallest edit that makes a clause hold, or undefined where there is none that we would suggest. */
export function changedJob(clause: Clause, job: Job, nowMs: number): Change | undefined {
  const edits = leastLiterals(clause.formula, job, nowMs)
  if (edits === undefined) return undefined
  const changes = edits.map((literal) => changeFor(literal, edits, job))
  const known = changes.filter((change) => change !== undefined)
  if (known.length < changes.length) return undefined
  return {
    text: known.map(({ text }) => text).join(' and '),
    apply: (sample) => known.reduce((so, change) => change.apply(so), sample),
  }
}

/** The fewest literals that are false of the job and make the formula true; none of them may take a tag away. */
function leastLiterals(formula: Formula, job: Job, nowMs: number): readonly Literal[] | undefined {
  if (formulaHolds(formula, job, nowMs)) return []
  if ('all' in formula) {
    const parts = formula.all.map((part) => leastLiterals(part, job, nowMs))
    return parts.some((part) => part === undefined) ? undefined : parts.flatMap((part) => part ?? [])
  }
  if ('any' in formula) {
    const parts = formula.any
      .map((part) => leastLiterals(part, job, nowMs))
      .filter((part) => part !== undefined)
    return parts.toSorted((a, b) => a.length - b.length)[0]
  }
  return isAboutTags(formula) && !formula.holds ? undefined : [formula]
}

function isAboutTags({ of }: Literal): boolean {
  return of === 'declared' || of === 'declaring'
}

function changeFor(literal: Literal, together: readonly Literal[], job: Job): Change | undefined {
  if (literal.of === 'topic') return topicChange(literal, job)
  if (literal.of === 'payload') {
    const sample = sampleOf(together.filter((one) => one.of === 'payload'))
    if (typeof sample === 'string') return undefined
    const { pointer, steps } = literal.test
    const value = steps.reduce<unknown>(
      (at, step) =>
        typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[step] : undefined,
      sample.job.payload,
    )
    // To leave something out of a payload is not an edit that we can be sure of.
    if (value === undefined) return undefined
    return edit(`set ${pointer} of the payload to ${JSON.stringify(value)}`, (now) => ({
      ...now,
      payload: placed(now.payload, steps, value),
    }))
  }
  const sample = sampleOf([literal])
  if (typeof sample === 'string') return undefined
  return wordChange(literal, sample)
}

function wordChange(literal: Exclude<Literal, { of: 'topic' | 'payload' }>, { job, nowMs }: Sample): Change {
  switch (literal.of) {
    case 'tenant':
      return edit(`submit it in tenant ${job.tenant}`, (now) => ({ ...now, tenant: job.tenant }))
    case 'actor':
      return edit(`submit it as ${job.agent}`, (now) => ({ ...now, agent: job.agent }))
    case 'actorType': {
      const actorType = job.actorType ?? 'agent'
      return edit(`submit it as a ${actorType}`, (now) => ({ ...now, actorType }))
    }
    case 'capability': {
      const { capability } = job
      if (capability !== undefined)
        return edit(`name the capability ${JSON.stringify(capability)}`, (now) => ({ ...now, capability }))
      return edit('name no capability', ({ capability: _gone, ...now }) => now)
    }
    case 'declared':
      return edit(`declare the risk tag ${JSON.stringify(literal.tag)}`, (now) => ({
        ...now,
        riskTags: [...new Set([...now.riskTags, literal.tag])],
      }))
    case 'declaring':
      return edit('declare a risk tag', (now) => ({ ...now, riskTags: [...now.riskTags, ...job.riskTags] }))
    case 'label': {
      const { key } = literal.test
      const value = job.labels.get(key)
      const text = value === undefined ? 'leave out the label' : 'set the label'
      const to = value === undefined ? '' : ` to ${JSON.stringify(value)}`
      return edit(`${text} ${JSON.stringify(key)}${to}`, (now) => {
        const labels = new Map(now.labels)
        if (value === undefined) labels.delete(key)
        else labels.set(key, value)
        return { ...now, labels }
      })
    }
    case 'size':
      return edit(`make it ${job.bytes} bytes`, (now) => ({ ...now, bytes: job.bytes }))
    case 'time':
      return {
        text: `submit it at such a time as ${new Date(nowMs).toISOString()}`,
        apply: (sample) => ({ ...sample, nowMs }),
      }
  }
}

/** The topic nearest to the job's own: its tokens stay wherever the pattern leaves room for them. */
function topicChange(literal: Extract<Literal, { of: 'topic' }>, job: Job): Change | undefined {
  if (!literal.holds) return undefined
  const tokens = job.topic.split('.')
  const nearest = literal.patterns
    .map((pattern) => ({ topic: filled(pattern.split('.'), tokens), same: 0 }))
    .map(({ topic }) => ({ topic, same: topic.filter((token, at) => token === tokens[at]).length }))
    .toSorted((a, b) => b.same - a.same)[0]
  if (nearest === undefined) return undefined
  const topic = nearest.topic.join('.')
  return edit(`use a topic such as ${topic}`, (now) => ({ ...now, topic }))
}

function filled(pattern: readonly string[], tokens: readonly string[]): string[] {
  return pattern.flatMap((part, at) => {
    if (part === '>') return tokens.length > at ? tokens.slice(at) : ['x']
    return [part === '*' ? (tokens[at] ?? 'x') : part]
  })
}

function edit(text: string, change: (job: Job) => Job): Change {
  return { text, apply: ({ job, nowMs }) => ({ job: change(job), nowMs }) }
}
