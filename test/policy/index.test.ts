import { afterEach, describe, expect, it, vi } from 'vitest'
import { compilePolicy } from '../../policy/compile.ts'
import { evaluate } from '../../policy/evaluate.ts'
import type { Job } from '../../policy/job.ts'
import { Program } from '../../policy/program.ts'
import type { RuleFile } from '../../policy/schema.ts'
import { Dice } from './random-policy.ts'

const facts = { nowMs: 0, granted: [] }

const someJob: Job = {
  topic: 'job.svc1.read.x',
  tenant: 'tenant1',
  agent: 'demo',
  riskTags: ['tag1'],
  labels: new Map([['env', 'prod']]),
  payload: undefined,
  bytes: 2,
}

function policyOf(rules: readonly RuleFile[]) {
  return compilePolicy([{ version: 'v1', rules: [...rules] }], '')
}

/** Rules as a large company would have them: most name a tenant and a service, the vocabularies grow with the number. */
function manyRules(count: number): RuleFile[] {
  const dice = new Dice(count)
  const services = Math.ceil(Math.sqrt(count) * 8)
  const tenants = Math.ceil(count / 8)
  return Array.from({ length: count }, (_, index): RuleFile => {
    const service = `job.svc${dice.below(services)}`
    const isVerbWide = dice.chance(10)
    return {
      id: `r${index}`,
      match: {
        topics: [isVerbWide ? 'job.*.write.>' : dice.chance(80) ? `${service}.read.*` : `${service}.>`],
        ...(isVerbWide || dice.chance(70) ? { tenants: [`tenant${dice.below(tenants)}`] } : {}),
        ...(dice.chance(30) ? { risk_tags: [`tag${dice.below(64)}`] } : {}),
        ...(dice.chance(20) ? { labels: { [`key${dice.below(10)}`]: `value${dice.below(8)}` } } : {}),
      },
      decision: 'allow',
    }
  })
}

afterEach(() => {
  vi.restoreAllMocks()
})

describe('what a decision costs', () => {
  /** Per job: rules that match, rules looked at in vain, and steps in trees. No clock, so it is the same on any machine. */
  function lookedAt(count: number): { matched: number; inVain: number; steps: number } {
    const rules = manyRules(count)
    const policy = policyOf(rules)
    const dice = new Dice(count + 1)
    const jobs = Array.from({ length: 500 }, (): Job => {
      const like = dice.one(rules).match
      const topic = (like.topics?.[0] ?? 'job.a').replaceAll('*', 'svc1').replace('>', 'x.y')
      const labels = new Map(Object.entries(like.labels ?? {}) as [string, string][])
      return { ...someJob, topic, tenant: like.tenants?.[0] ?? 'tenant1', labels }
    })
    const holds = vi.spyOn(Program.prototype, 'holds')
    const get = vi.spyOn(Program.prototype, 'below')
    let matched = 0
    for (const job of jobs) matched += evaluate(policy, job, facts).decision.matched.length
    const inVain = (holds.mock.calls.length - matched) / jobs.length
    const cost = { matched: matched / jobs.length, inVain, steps: get.mock.calls.length / jobs.length }
    vi.restoreAllMocks()
    return cost
  }

  it('hardly grows with the number of rules', () => {
    const few = lookedAt(100)
    const many = lookedAt(10_000)
    expect(many.matched).toBeGreaterThan(1)
    expect(many.inVain).toBeLessThan(5)
    expect(many.steps).toBeLessThan(few.steps * 2.5)
  })

  it('does not explode where every rule asks the same of one dimension', () => {
    const sameTopic = Array.from({ length: 2_000 }, (_, index): RuleFile => ({
      id: `r${index}`,
      match: { topics: ['job.svc1.read.*'], labels: { env: `value${index}` } },
      decision: 'allow',
    }))
    const policy = policyOf(sameTopic)
    const holds = vi.spyOn(Program.prototype, 'holds')
    evaluate(policy, { ...someJob, labels: new Map([['env', 'value7']]) }, facts)
    expect(holds.mock.calls.length).toBeLessThan(5)
  })

  it('stays exact where a list is too long to be branched on', () => {
    const tenants = Array.from({ length: 900 }, (_, index) => `tenant${index}`)
    const topics = Array.from({ length: 40 }, (_, index) => `job.svc${index}.>`)
    const wide = Array.from({ length: 30 }, (_, index): RuleFile => ({
      id: `r${index}`,
      match: { tenants, topics, risk_tags: ['tag1', 'tag2'] },
      decision: 'allow',
    }))
    const policy = policyOf(wide)
    expect(evaluate(policy, { ...someJob, riskTags: ['tag2', 'tag1'] }, facts).decision.matched).toHaveLength(
      30,
    )
    expect(evaluate(policy, { ...someJob, tenant: 'tenant900' }, facts).decision.matched).toEqual([])
    expect(evaluate(policy, { ...someJob, topic: 'job.svc40.x' }, facts).decision.matched).toEqual([])
  })
})

describe('hostile jobs', () => {
  const policy = policyOf([
    {
      id: 'constructor',
      match: { topics: ['job.constructor.>'], labels: { constructor: 'prod' } },
      decision: 'allow',
    },
    { id: '__proto__', match: { tenants: ['constructor'], risk_tags: ['__proto__'] }, decision: 'deny' },
    { id: 'any', match: { topics: ['job.>'] }, decision: 'allow' },
  ])

  it('with 20,000 tokens are decided by the patterns that cover them', () => {
    const long = { ...someJob, topic: `job${'.a'.repeat(20_000)}` }
    expect(evaluate(policy, long, facts).decision.matched).toEqual(['any'])
  })

  it('with the names of built-in properties match only what says those names', () => {
    expect(evaluate(policy, someJob, facts).decision.matched).toEqual(['any'])
    const named = { ...someJob, topic: 'job.constructor.x', labels: new Map([['constructor', 'prod']]) }
    expect(evaluate(policy, named, facts).decision.matched).toEqual(['any', 'constructor'])
    const tagged = { ...someJob, tenant: 'constructor', riskTags: ['__proto__'] }
    expect(evaluate(policy, tagged, facts).decision).toMatchObject({ type: 'DENY', rule_id: '__proto__' })
  })
})
