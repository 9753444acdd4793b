import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { NatsConnection } from '@nats-io/transport-node'
import type { Config } from '../../gateway/config/config.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { ask, readAudit, readJob, testApprovals, testConfig, until, type Asked } from '../helpers/gateway.ts'

const policy = `version: v1
rules:
  - { id: ask, match: { topics: ["job.ask.*"] }, decision: require_approval }
  - id: brief
    match: { topics: ["job.ask.brief"] }
    decision: require_approval
    approval: { expires_in: 1s }
  - id: slow
    match: { topics: ["job.slow.*"] }
    decision: throttle
    throttle: { rate: 1, per: 500ms }
  - { id: slow-ask, match: { topics: ["job.slow.*"] }, decision: require_approval }
`

let nats: TestNats
let config: Config
let gateways: Gateway[]
let agent: NatsConnection
let approver: NatsConnection

beforeAll(async () => {
  nats = await startTestNats()
  config = await testConfig(nats, policy, { approvals: { ...testApprovals, denialCacheSec: 600 } })
  gateways = await Promise.all(['one', 'two'].map((gateway) => startGateway({ ...config, gateway })))
  agent = await nats.connect('demo')
  approver = await nats.connect('demo-approver')
})
afterAll(async () => {
  await Promise.all(gateways.map((gateway) => gateway.stop()))
  await nats.stop()
})

type Joined = Asked & { joined_as?: string; joined?: string }

const submit = (topic: string, payload: object, messageId?: string, by = agent): Promise<Joined> =>
  ask(by, topic, { payload }, messageId, 20_000)

async function resolve(job: string, decision: 'approve' | 'reject', note = ''): Promise<{ state?: string }> {
  return (
    await approver.request(`approvals.resolve.demo-approver.${job}`, JSON.stringify({ decision, note }))
  ).json()
}

async function get(path: string): Promise<Record<string, unknown>> {
  return (await (await fetch(`${gateways[0]?.httpUrl}/api/v1/${path}`)).json()) as Record<string, unknown>
}

describe('a request that waits for a person already', () => {
  test('is joined by the same request: one approval, one answer, and a record of its own for each', async () => {
    const first = await submit('job.ask.join', { n: 1 })
    const second = await submit('job.ask.join', { n: 1 })
    expect(first).toMatchObject({ state: 'PARKED', duplicate: false })
    expect(second).toMatchObject({
      job_id: first.job_id,
      trace_id: first.trace_id,
      state: 'PARKED',
      job_hash: first.job_hash,
      duplicate: true,
      next: 'wait',
    })
    const own = second.joined_as ?? ''
    expect(own).not.toBe(first.job_id)
    const records = await readJob(nats, own)
    expect(records.map(({ data }) => data.event)).toEqual(['joined'])
    expect(records[0]?.data).toMatchObject({
      joined: first.job_id,
      state: { from: 'RECEIVED', to: 'JOINED' },
      decision: { type: 'REQUIRE_APPROVAL', rule_id: 'ask' },
      terminal: { status: 'JOINED' },
    })
    expect(await get(`jobs/${own}`)).toMatchObject({ state: 'JOINED', joined: first.job_id })
    const { jobs } = (await get(`traces/${String(records[0]?.data.trace_id)}`)) as {
      jobs: { complete: boolean; events: { joined?: string }[] }[]
    }
    expect(jobs).toMatchObject([{ complete: true, events: [{ joined: first.job_id }] }])
    expect(await resolve(first.job_id, 'approve')).toMatchObject({ state: 'DISPATCHED' })
  })

  test('is not joined by other bytes, on another topic, by another agent, or under a name of its own', async () => {
    const sibling = await nats.connect('billing-bot')
    const first = await submit('job.ask.apart', { n: 1 })
    const others = [
      await submit('job.ask.apart', { n: 2 }),
      await submit('job.ask.elsewhere', { n: 1 }),
      await submit('job.billing-bot.ask.apart', { n: 1 }, undefined, sibling),
      await submit('job.ask.apart', { n: 1 }, 'a-name'),
      await submit('job.ask.apart', { n: 1 }, 'another-name'),
    ]
    const ids = [first, ...others].map(({ job_id }) => job_id)
    expect(new Set(ids).size).toBe(ids.length)
    for (const answer of others) expect(answer.state).toBe('PARKED')
  })

  test('over HTTP is joined without an Idempotency-Key and not with one', async () => {
    const post = async (key?: string): Promise<Joined> => {
      const response = await fetch(`${gateways[1]?.httpUrl}/api/v1/jobs`, {
        method: 'POST',
        headers: {
          'Content-Type': 'application/json',
          ...(key === undefined ? {} : { 'Idempotency-Key': key }),
        },
        body: JSON.stringify({ topic: 'job.ask.http', payload: { n: 1 } }),
      })
      return (await response.json()) as Joined
    }
    const first = await post()
    expect(await post()).toMatchObject({ job_id: first.job_id, duplicate: true, state: 'PARKED' })
    const named = await post('key-1')
    expect(named.job_id).not.toBe(first.job_id)
    expect(named).not.toHaveProperty('joined_as')
  })

  test('is parked once when fifty come at the same moment to two gateways', async () => {
    for (let round = 0; round < 4; round++) {
      const answers = await Promise.all(Array.from({ length: 50 }, () => submit('job.ask.race', { round })))
      expect(new Set(answers.map(({ job_id }) => job_id)).size).toBe(1)
    }
    const events = await until(async () => {
      const all = (await readAudit(nats)).filter(({ record }) => record.data.topic === 'job.ask.race')
      return all.length === 200 && all.map(({ record }) => record.data.event)
    })
    expect(events.filter((event) => event === 'parked')).toHaveLength(4)
    expect(events.filter((event) => event === 'joined')).toHaveLength(196)
  })

  test('is parked once when it had to wait its turn before', async () => {
    await submit('job.slow.first', {})
    await Promise.all(Array.from({ length: 3 }, () => submit('job.slow.same', {})))
    const ends = await until(async () => {
      const events = (await readAudit(nats)).filter(
        ({ record }) => record.data.topic === 'job.slow.same' && record.data.event !== 'throttled',
      )
      return events.length === 3 && events.map(({ record }) => record.data.event)
    })
    expect(ends.toSorted((a, b) => (a < b ? -1 : 1))).toEqual(['joined', 'joined', 'parked'])
  })

  test('is asked anew once the first one has been decided or has expired', async () => {
    const approved = await submit('job.ask.again', {})
    await resolve(approved.job_id, 'approve')
    const second = await submit('job.ask.again', {})
    expect(second).toMatchObject({ state: 'PARKED' })
    expect(second.job_id).not.toBe(approved.job_id)

    const brief = await submit('job.ask.brief', {})
    await until(async () => (await readJob(nats, brief.job_id)).at(-1)?.data.event === 'expired')
    const after = await submit('job.ask.brief', {})
    expect(after).toMatchObject({ state: 'PARKED' })
    expect(after.job_id).not.toBe(brief.job_id)
    // What lapses by itself would change what the tests below count.
    await resolve(after.job_id, 'reject')
  })
})

describe('a request that a person rejected a moment ago', () => {
  test('is denied without asking again, with who, when and why; another one is asked about', async () => {
    const first = await submit('job.ask.storm', { n: 1 })
    await resolve(first.job_id, 'reject', 'not on a Friday')
    const storm = await Promise.all(Array.from({ length: 10 }, () => submit('job.ask.storm', { n: 1 })))
    for (const answer of storm) {
      expect(answer).toMatchObject({
        state: 'DENIED',
        next: 'change_request',
        decision: { type: 'DENY', rule_id: 'sluice.rejected-before' },
      })
      expect(answer.decision.reason).toMatch(
        /^demo-approver rejected the same request at \S+: "not on a Friday"$/,
      )
    }
    expect(await submit('job.ask.storm', { n: 2 })).toMatchObject({ state: 'PARKED' })
  })

  test('is asked about again when the configuration says so', async () => {
    const first = await submit('job.ask.free', {})
    await resolve(first.job_id, 'reject')
    await Promise.all(gateways.map((gateway) => gateway.stop()))
    gateways = [await startGateway({ ...config, approvals: { ...config.approvals, denialCacheSec: 0 } })]
    expect(await submit('job.ask.free', {})).toMatchObject({ state: 'PARKED' })
  })
})

describe('the queue', () => {
  const bounded = async (bounds: Partial<Config['approvals']>): Promise<void> => {
    await Promise.all(gateways.map((gateway) => gateway.stop()))
    gateways = [await startGateway({ ...config, approvals: { ...config.approvals, ...bounds } })]
  }
  const parkedNow = async (): Promise<number> => {
    const { items } = (await get('approvals?limit=500')) as { items: { job: { actor: string } }[] }
    return items.filter(({ job }) => job.actor === 'demo').length
  }

  test.each([
    ['perAgentMax', /agent demo .*limits\.approvals_per_agent_max/],
    ['perTenantMax', /tenant default .*limits\.approvals_per_tenant_max/],
  ] as const)('has the bound %s; what is beyond is a denial on record that names it', async (key, words) => {
    // What waits from the tests before is counted again after the start.
    const waiting = await parkedNow()
    await bounded({ [key]: waiting + 3 })
    await expect
      .poll(
        async () =>
          (await (await fetch(`${gateways[0]?.httpUrl}/metrics`)).text()).match(
            /^sluice_approvals_waiting.*tenant="default".* (\d+)$/m,
          )?.[1],
        { timeout: 20_000 },
      )
      .toBe(String(waiting))
    const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => submit(`job.ask.${key}`, { n })))
    const parked = answers.filter(({ state }) => state === 'PARKED')
    const refused = answers.filter(({ state }) => state === 'DENIED')
    expect([parked.length, refused.length]).toEqual([3, 7])
    for (const { decision } of refused) {
      expect(decision.rule_id).toBe('sluice.queue-full')
      expect(decision.reason).toMatch(words)
    }
    const records = await readJob(nats, refused[0]?.job_id ?? '')
    expect(records.map(({ data }) => data.event)).toEqual(['denied'])
    await resolve(parked[0]?.job_id ?? '', 'reject')
    expect(await submit(`job.ask.${key}`, { n: 'room again' })).toMatchObject({ state: 'PARKED' })
    await bounded({})
  })
})
