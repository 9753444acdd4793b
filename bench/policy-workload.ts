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
/** Jobs that no rule is made for, in percent. */
const strangersPercent = 20

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
    services: words('svc', Math.max(2, Math.round(rules * 0.085))),
    verbs: words('verb', Math.max(4, Math.round(rules / 20))),
    tenants: words('tenant', Math.max(2, Math.round(rules * 0.126))),
    capabilities: words('cap', Math.max(3, Math.round(rules * 0.027))),
    actors: words('agent', Math.max(3, Math.round(rules * 0.105))),
    tags: words('tag', Math.min(64, Math.max(8, Math.round(rules / 10)))),
    environments: ['prod', 'staging', 'test', 'dev'],
    regions: words('region', 10),
  }
}

type Vocabulary = ReturnType<typeof vocabulary>

/** The same number of rules always gives the same rules and the same 4,000 jobs. */
export function makeWorkload(rules: number): Workload {
  const dice = new Dice(20_261_122 + rules)
  const known = vocabulary(rules)
  const guarded = Math.min(30, 3 + Math.floor(rules / 50))
  const file: PolicyFile = {
    version: 'v1',
    rules: Array.from({ length: rules }, (_, at) => makeRule(dice, known, at, guarded)),
  }
  const texts = Array.from({ length: jobCount }, (_, at) => {
    const rule = dice.below(100) < strangersPercent ? undefined : file.rules[dice.skewed(rules)]
    const guardrails = [dice.below(guarded), dice.below(guarded)].flatMap((one) => file.rules[one] ?? [])
    return JSON.stringify(padded(makeJob(dice, known, rule, guardrails, at)))
  })
  return { file, texts, jobs: texts.map(read) }
}

function makeRule(dice: Dice, known: Vocabulary, at: number, guardrails: number): RuleFile {
  const id = `r${String(at).padStart(6, '0')}`
  const match = makeMatch(dice, known, at, guardrails)
  const kind = dice.below(100)
  if (kind < 10) return { id, match, decision: 'deny' }
  if (kind < 25) return { id, match, decision: 'require_approval' }
  if (kind < 30) return { id, match, decision: 'throttle', throttle: { rate: 10, per: '1s' } }
  if (kind < 50) {
    const constraints = { max_runtime_sec: 10 + dice.below(90), max_retries: dice.below(3) }
    return { id, match, decision: 'allow_with_constraints', constraints }
  }
  return { id, match, decision: 'allow' }
}

/** Up to thirty guardrails by tag first, and then in a hundred: 62 about a tenant's service, 25 a service, 8 a verb, 5 an actor. */
function makeMatch(dice: Dice, known: Vocabulary, at: number, guardrails: number): RuleFile['match'] {
  if (at < guardrails)
    return { topics: ['job.>'], risk_tags: [dice.one(known.tags)], labels: { env: 'prod' } }
  const service = dice.one(known.services)
  const kind = dice.below(100)
  if (kind < 25) return { topics: [`job.${service}.>`] }
  if (kind < 33) return { topics: [`job.*.${dice.one(known.verbs)}.>`] }
  if (kind < 38) return { topics: ['job.>'], actors: [dice.one(known.actors)] }
  const match: RuleFile['match'] = {
    topics: [`job.${service}.${dice.one(known.verbs)}.*`],
    tenants: [dice.one(known.tenants), dice.one(known.tenants)],
  }
  const more = dice.below(6)
  if (more === 0) match.capabilities = [dice.one(known.capabilities)]
  if (more === 1) match.risk_tags = { any: [dice.one(known.tags), dice.one(known.tags)] }
  if (more === 2) match.labels = { env: { one_of: ['prod', dice.one(known.environments)] } }
  if (more === 3) match.risk_tags = { none: [dice.one(known.tags)] }
  return match
}

type Written = { topic: string; tenant: string; agent: string; [key: string]: unknown }

/** A job that the rule covers, if there is one, with tags and labels of its own beside what the rule asks. */
function makeJob(
  dice: Dice,
  known: Vocabulary,
  rule: RuleFile | undefined,
  guardrails: readonly RuleFile[],
  at: number,
): Written {
  const stranger = rule === undefined
  const pattern = rule?.match.topics?.[0] ?? 'job.stranger.>'
  const tokens = pattern.split('.').map((part, index) => {
    if (part === '>')
      return index < 3
        ? `${stranger ? 'unheard-of' : dice.one(known.verbs)}.item${at % 97}`
        : `item${at % 97}`
    return part === '*' ? (index === 1 ? dice.one(known.services) : `item${at % 97}`) : part
  })
  const asked = rule?.match.risk_tags
  const wanted = Array.isArray(asked) ? asked : (asked?.any ?? [])
  return {
    topic: tokens.join('.'),
    tenant: rule?.match.tenants?.[0] ?? (stranger ? 'nobody' : dice.one(known.tenants)),
    agent: rule?.match.actors?.[0] ?? (stranger ? 'nobody' : dice.one(known.actors)),
    risk_tags: stranger
      ? ['unheard-of']
      : [...new Set([...wanted.slice(0, 1), ...guardrails.flatMap(tagsOf)])],
    labels: {
      env: rule?.match.labels === undefined && dice.below(100) < 20 ? dice.one(known.environments) : 'prod',
      region: dice.one(known.regions),
    },
    capability: rule?.match.capabilities?.[0] ?? dice.one(known.capabilities),
    trace_id: `trace-${at}`,
    payload: { ticket: `T-${at}`, fields: { priority: at % 5, title: 'a title of some length' } },
  }
}

function tagsOf({ match }: RuleFile): readonly string[] {
  return Array.isArray(match.risk_tags) ? match.risk_tags : []
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
