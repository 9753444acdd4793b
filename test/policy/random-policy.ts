import type { Job } from '../../policy/job.ts'
import type { ConditionFile, PolicyFile, RuleFile } from '../../policy/schema.ts'

/** A small seeded generator (mulberry32): the same seed gives the same policies and jobs on any machine. */
export class Dice {
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

  chance(percent: number): boolean {
    return this.below(100) < percent
  }

  one<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)] as Item
  }

  some<Item>(items: readonly Item[], most: number): Item[] {
    return Array.from({ length: 1 + this.below(most) }, () => this.one(items))
  }
}

// Few words, so that rules overlap densely; hostile ones among them.
const tokens = ['a', 'b', 'A', 'x-1', 'constructor', '__proto__']
const names = ['acme', 'default', 'constructor', 'a', 'b']
const tags = ['prod', 'pii', 'medium', '__proto__', 'constructor', 'ü', 'Prod']
const labelKeys = ['env', 'team', 'constructor', 'toString', 'é', '']
const labelValues = ['', 'prod', 'prod-eu', 'constructor', '日本', 'x']
const capabilities = ['read', 'write', 'hasOwnProperty']
const pointers = [
  '/amount',
  '/a/b',
  '/list/0',
  '/constructor',
  '/__proto__',
  '/a~1b',
  '/m~0n',
  '/list/00',
  '/',
]
const scalars = [0, 5, -1, 2.5, '', '5', 'prod', 'prod-eu', true, false, null]
const zones = ['UTC', 'Asia/Tokyo', 'America/Phoenix']
const clocks = ['00:00', '06:30', '09:00', '17:00', '22:15', '24:00']

function pattern(dice: Dice): string {
  const parts = Array.from({ length: 1 + dice.below(3) }, () => (dice.chance(35) ? '*' : dice.one(tokens)))
  if (dice.chance(30)) parts.push('>')
  return `job.${parts.join('.')}`
}

function labelTest(dice: Dice): NonNullable<ConditionFile['labels']>[string] {
  switch (dice.below(5)) {
    case 0:
      return { one_of: dice.some(labelValues, 3) }
    case 1:
      return { prefix: dice.one(['p', 'prod', '日', 'x']) }
    case 2:
      return { present: dice.chance(50) }
    case 3:
      return { equals: dice.one(labelValues) }
    default:
      return dice.one(labelValues)
  }
}

function payloadTest(dice: Dice): NonNullable<ConditionFile['payload']>[string] {
  switch (dice.below(5)) {
    case 0:
      return { one_of: dice.some(scalars, 3) }
    case 1:
      return { prefix: dice.one(['p', 'prod']) }
    case 2:
      return { exists: dice.chance(50) }
    case 3:
      return dice.chance(50) ? { at_least: dice.below(4) } : { above: -1, below: 1 + dice.below(6) }
    default:
      return dice.one(scalars)
  }
}

function condition(dice: Dice, withTags: boolean): ConditionFile {
  const asked: { -readonly [Key in keyof ConditionFile]: ConditionFile[Key] } = {}
  if (dice.chance(60)) asked.topics = dice.some([pattern(dice), pattern(dice), pattern(dice)], 3)
  if (dice.chance(25)) asked.tenants = dice.some(names, 3)
  if (dice.chance(15)) asked.actors = dice.some(names, 3)
  if (dice.chance(8)) asked.actor_types = dice.some(['agent', 'human', 'service'] as const, 2)
  if (dice.chance(20)) asked.capabilities = dice.some(capabilities, 2)
  if (withTags && dice.chance(45)) asked.risk_tags = tagCondition(dice)
  if (dice.chance(25))
    asked.labels = Object.fromEntries(dice.some(labelKeys, 2).map((key) => [key, labelTest(dice)]))
  if (dice.chance(15)) {
    asked.payload = Object.fromEntries(dice.some(pointers, 2).map((pointer) => [pointer, payloadTest(dice)]))
  }
  if (dice.chance(8)) asked.size = dice.chance(50) ? { at_least: 100 } : { above: 10, at_most: 200 }
  if (dice.chance(8)) {
    const from = dice.one(clocks.slice(0, -1))
    const to = dice.one(clocks.filter((clock) => clock !== from))
    asked.time = {
      zone: dice.one(zones),
      from,
      to,
      ...(dice.chance(50) ? { days: dice.some(['mon', 'sat', 'sun'] as const, 2) } : {}),
    }
  }
  return asked
}

function tagCondition(dice: Dice): NonNullable<ConditionFile['risk_tags']> {
  if (dice.chance(60)) return dice.chance(25) ? [] : dice.some(tags, 3)
  const parts: { any?: string[]; all?: string[]; none?: string[] } = {}
  if (dice.chance(40)) parts.any = dice.some(tags, 2)
  if (dice.chance(40)) parts.all = dice.some(tags, 3)
  if (dice.chance(40) || Object.keys(parts).length === 0) parts.none = dice.some(tags, 2)
  return parts
}

function rule(dice: Dice, id: string, overlay: boolean): RuleFile {
  const decision = dice.one([
    'allow',
    'allow',
    'deny',
    'require_approval',
    'throttle',
    'allow_with_constraints',
  ] as const)
  const words = overlay && decision === 'allow' ? 'deny' : decision
  return {
    id,
    match: condition(dice, true),
    ...(dice.chance(20) ? { unless: condition(dice, true) } : {}),
    decision: words,
    ...(words === 'throttle' ? { throttle: { rate: 1 + dice.below(9), per: '1s' } } : {}),
    ...(words === 'require_approval' && dice.chance(60) ? { approval: approvalTerms(dice) } : {}),
    ...(words === 'allow_with_constraints'
      ? { constraints: { max_runtime_sec: 1 + dice.below(60), max_retries: dice.below(3) } }
      : {}),
  }
}

const waits = ['100ms', '1s', '90s', '5m', '1h', '2d']
const people: readonly { groups?: string[]; roles?: string[]; persons?: string[] }[] = [
  { groups: ['ops'] },
  { roles: ['admin', 'ops'] },
  { persons: ['ann'] },
]

function approvalTerms(dice: Dice): NonNullable<RuleFile['approval']> {
  const escalation = () => ({
    ...dice.one(people),
    after: dice.one(waits),
  })
  return {
    expires_in: dice.one(['3d', '10d']),
    ...(dice.chance(50) ? { remind_at: dice.one(waits) } : {}),
    ...(dice.chance(50) ? { wait_at_least: dice.one(waits) } : {}),
    ...(dice.chance(50) ? { level: dice.one(['normal', 'high', 'critical'] as const) } : {}),
    ...(dice.chance(30) ? { escalate_to: escalation() } : {}),
    ...(dice.chance(30) ? { escalate_to: [escalation(), escalation()] } : {}),
  }
}

/** One to three files of up to `rulesMax` rules together, as they come from the schema. */
export function randomFiles(dice: Dice, rulesMax: number): PolicyFile[] {
  const count = 1 + dice.below(rulesMax)
  const ids = Array.from({ length: count }, (_, index) => `r${(index * 7919) % 10_007}`)
  const cut = dice.chance(40) ? dice.below(count) : count
  const base: PolicyFile = {
    version: 'v1',
    rules: ids.slice(0, Math.max(cut, 1)).map((id) => rule(dice, id, false)),
    ...(dice.chance(50)
      ? { risk_tiers: { low: ['medium'], high: dice.some(tags, 2), critical: ['pii'] } }
      : {}),
    ...(dice.chance(50)
      ? {
          tags: Array.from({ length: 1 + dice.below(3) }, () => ({
            add: dice.some(tags, 2),
            match: condition(dice, false),
          })),
        }
      : {}),
  }
  const rest = ids.slice(Math.max(cut, 1))
  if (rest.length === 0) return [base]
  const tenants = dice.some(names, 2)
  return [
    base,
    { version: 'v1', overlay: { tenants }, rules: rest.map((id) => within(rule(dice, id, true), tenants)) },
  ]
}

/** Rules of an overlay may only name the overlay's tenants; the loader sees to that. */
function within(written: RuleFile, tenants: readonly string[]): RuleFile {
  const { tenants: named, ...match } = written.match
  return { ...written, match: named === undefined ? match : { ...match, tenants: [tenants[0] ?? 'acme'] } }
}

const payloads: readonly unknown[] = [
  undefined,
  null,
  5,
  { amount: 5, list: [0, 'prod'], a: { b: 'prod-eu' } },
  { amount: '5', 'a/b': true, 'm~n': 2.5, '': 0 },
  JSON.parse('{"__proto__":5,"constructor":"prod","list":[]}'),
  { list: { 0: 5, '00': 5 }, a: { b: null } },
]

export function randomJob(dice: Dice): Job {
  const depth = dice.chance(1) ? 300 : 1 + dice.below(4)
  const labels = new Map<string, string>()
  for (let count = dice.below(4); count > 0; count--)
    labels.set(dice.one([...labelKeys, 'other']), dice.one([...labelValues, 'y']))
  const riskTags = dice.chance(40) ? [] : [...new Set(dice.some([...tags, 'unknown', ''], 3))]
  return {
    topic: `job.${Array.from({ length: depth }, () => dice.one([...tokens, 'zzz', ''])).join('.')}`,
    tenant: dice.one([...names, 'stranger']),
    agent: dice.one([...names, 'stranger']),
    ...(dice.chance(20) ? { actorType: dice.one(['agent', 'human', 'service'] as const) } : {}),
    riskTags,
    labels,
    ...(dice.chance(60) ? { capability: dice.one([...capabilities, 'toString']) } : {}),
    payload: dice.one(payloads),
    bytes: dice.below(300),
  }
}
