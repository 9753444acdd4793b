import type { Job } from '../policy/job.ts'
import { parseJob } from '../policy/job.ts'
import type { PolicyFile, RuleFile } from '../policy/schema.ts'

/** Rules and jobs of one size. Every rule has one topic pattern and otherwise only what all engines can say. */
export type Workload = {
  readonly file: PolicyFile
  readonly texts: readonly string[]
  readonly jobs: readonly Job[]
}

const jobCount = 4_000
const jobBytes = 380
/** In percent: jobs that no rule is made for, and jobs whose topic is in capitals, which is another topic. */
const strangersPercent = 18
const shoutedPercent = 2

/** A small seeded generator (mulberry32): every run and every machine has the same rules and jobs. */
class Dice {
  private state: number
  constructor(seed: number) {
    this.state = seed >>> 0
  }

  below(limit: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }

  /** The low numbers come more often, as a few services have most of the traffic. */
  skewed(limit: number): number {
    return Math.min(this.below(limit), this.below(limit))
  }

  one<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)] as Item
  }
}

const words = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, at) => `${prefix}-${at}`)

/** The words of a policy; there are more of them the more rules there are, as in an organisation that grows. */
function vocabulary(rules: number) {
  return {
    services: words('svc', Math.max(2, Math.round(rules * 0.0853))),
    verbs: words('verb', Math.min(24, Math.max(3, Math.round(rules / 10)))),
    tenants: words('tenant', Math.max(2, Math.round(rules * 0.126))),
    capabilities: words('cap', Math.max(3, Math.round(rules * 0.027))),
    actors: words('agent', Math.max(3, Math.round(rules * 0.105))),
    tags: words('tag', Math.min(64, Math.max(8, Math.round(rules / 10)))),
    environments: ['prod', 'staging', 'test', 'dev'],
    labelKeys: words('key', 8),
    labelValues: words('value', 10),
  }
}

type Vocabulary = ReturnType<typeof vocabulary>

/** The same number of rules always gives the same rules and the same 4,000 jobs. */
export function makeWorkload(rules: number): Workload {
  const dice = new Dice(20_261_122 + rules)
  const known = vocabulary(rules)
  const guarded = Math.min(30, 1 + Math.floor(rules / 20))
  const file: PolicyFile = {
    version: 'v1',
    rules: Array.from({ length: rules }, (_, at) => makeRule(dice, known, at, guarded)),
  }
  const texts = Array.from({ length: jobCount }, (_, at) => {
    const rule = dice.below(100) < strangersPercent ? undefined : file.rules[dice.skewed(rules)]
    return JSON.stringify(padded(makeJob(dice, known, rule, at)))
  })
  return { file, texts, jobs: texts.map(read) }
}

function makeRule(dice: Dice, known: Vocabulary, at: number, guardrails: number): RuleFile {
  const id = `r${String(at).padStart(6, '0')}`
  const match = at < guardrails ? makeGuardrail(dice, known) : makeMatch(dice, known)
  const kind = dice.below(100)
  if (at < guardrails || kind < 10) return { id, match, decision: 'deny' }
  if (kind < 25) return { id, match, decision: 'require_approval' }
  if (kind < 30) return { id, match, decision: 'throttle', throttle: { rate: 10, per: '1s' } }
  if (kind < 50) {
    const constraints = { max_runtime_sec: 10 + dice.below(90), max_retries: dice.below(3) }
    return { id, match, decision: 'allow_with_constraints', constraints }
  }
  return { id, match, decision: 'allow' }
}

/** A rare tag at a verb of any service, in production. */
function makeGuardrail(dice: Dice, known: Vocabulary): RuleFile['match'] {
  const rare = known.tags.length - 1 - dice.below(known.tags.length >> 1)
  return {
    topics: [`job.*.${dice.one(known.verbs)}.>`],
    risk_tags: [known.tags[rare] ?? ''],
    labels: { env: 'prod' },
  }
}

/** Of a hundred rules 62 are about a tenant's service, 25 about a service, 8 about a verb, 5 about an actor or a tenant. */
function makeMatch(dice: Dice, known: Vocabulary): RuleFile['match'] {
  const service = known.services[dice.skewed(known.services.length)] ?? ''
  const verb = dice.one(known.verbs)
  const kind = dice.below(100)
  if (kind < 62)
    return {
      topics: [`job.${service}.${verb}.*`],
      tenants: [dice.one(known.tenants), dice.one(known.tenants)],
      ...makeMore(dice, known, 2),
    }
  if (kind < 87) return { topics: [`job.${service}.>`], ...makeMore(dice, known, 4) }
  if (kind < 95) return { topics: [`job.*.${verb}.>`], capabilities: [dice.one(known.capabilities)] }
  if (kind < 98) return { topics: ['job.>'], actors: [dice.one(known.actors)] }
  return { topics: ['job.>'], tenants: [dice.one(known.tenants)], risk_tags: [dice.one(known.tags)] }
}

/** What a rule asks beside topic and tenant, `often` times in six. */
function makeMore(dice: Dice, known: Vocabulary, often: number): RuleFile['match'] {
  if (dice.below(6) >= often) return {}
  switch (dice.below(5)) {
    case 0:
      return { capabilities: [dice.one(known.capabilities)] }
    case 1:
      return { risk_tags: { any: [dice.one(known.tags), dice.one(known.tags)] } }
    case 2:
      return { labels: { env: { one_of: ['prod', dice.one(known.environments)] } } }
    case 3:
      return { labels: { [dice.one(known.labelKeys)]: dice.one(known.labelValues) } }
    default:
      return { risk_tags: { none: [dice.one(known.tags)] } }
  }
}

type Written = { topic: string; tenant: string; agent: string; [key: string]: unknown }

/** A job that the rule covers, if there is one, with tags and labels of its own beside what the rule asks. */
function makeJob(dice: Dice, known: Vocabulary, rule: RuleFile | undefined, at: number): Written {
  const stranger = rule === undefined
  const match = rule?.match ?? {}
  const pattern = match.topics?.[0] ?? 'job.stranger.unheard-of.>'
  const service = known.services[dice.skewed(known.services.length)] ?? ''
  const words = pattern.split('.').flatMap((token, place) => {
    if (token !== '*' && token !== '>') return [token]
    const filled = [service, dice.one(known.verbs), `item${at % 97}`]
    return token === '*' ? filled.slice(place - 1, place) : filled.slice(place - 1)
  })
  const topic = words.join('.')
  return {
    topic: dice.below(100) < shoutedPercent ? `job.${topic.slice('job.'.length).toUpperCase()}` : topic,
    tenant: match.tenants?.[0] ?? (stranger ? 'nobody' : dice.one(known.tenants)),
    agent: match.actors?.[0] ?? (stranger ? 'nobody' : dice.one(known.actors)),
    risk_tags: makeTags(dice, known, match, stranger),
    labels: makeLabels(dice, known, match),
    capability: match.capabilities?.[0] ?? dice.one(known.capabilities),
    trace_id: `trace-${at}`,
    payload: {
      ticket: `T-${at}`,
      fields: { priority: at % 5, title: dice.below(100) < 1 ? 'größer' : 'a title of some length' },
    },
  }
}

/** One tag that the rule asks for, if it does, and mostly one more. */
function makeTags(dice: Dice, known: Vocabulary, match: RuleFile['match'], stranger: boolean): string[] {
  if (stranger) return ['unheard-of']
  const asked = match.risk_tags
  const wanted = Array.isArray(asked) ? asked : (asked?.any ?? [])
  const other = known.tags[dice.skewed(known.tags.length)] ?? ''
  const refused = !Array.isArray(asked) && asked?.none?.includes(other) === true
  return [...new Set([...wanted.slice(0, 1), ...(refused || dice.below(4) === 0 ? [] : [other])])]
}

function makeLabels(dice: Dice, known: Vocabulary, match: RuleFile['match']): Record<string, string> {
  const asked = Object.entries(match.labels ?? {}).map(([key, test]) => [
    key,
    typeof test === 'string' ? test : (test.one_of?.[0] ?? ''),
  ])
  return {
    env: dice.below(2) === 0 ? 'prod' : dice.one(known.environments),
    [dice.below(100) < 1 ? 'constructor' : dice.one(known.labelKeys)]: dice.one(known.labelValues),
    ...(Object.fromEntries(asked) as Record<string, string>),
  }
}

function padded(job: Written): Written {
  const missing = jobBytes - JSON.stringify(job).length
  const payload = job['payload'] as object
  return { ...job, payload: { ...payload, text: 'x'.repeat(Math.max(1, missing - 10)) } }
}

/** As the gateway gets it: tenant and agent come with the connection and not in the body. */
function read(text: string): Job {
  const { tenant, agent, ...body } = JSON.parse(text) as Written
  const parsed = parseJob({ tenant, agent }, body.topic, Buffer.from(JSON.stringify(body)))
  if (!parsed.ok) throw new Error(`a job of the workload is none: ${parsed.refusal.reason}`)
  return parsed.job
}
