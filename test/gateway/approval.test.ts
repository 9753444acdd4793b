import { afterAll, beforeAll, expect, test } from 'vitest'
import { readFile } from 'node:fs/promises'
import type { NatsConnection } from '@nats-io/transport-node'
import type { Config } from '../../gateway/config/config.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { ask, coreWorker, readJob, testConfig, until } from '../helpers/gateway.ts'

const write = 'job.mcp-bridge.write.update_ticket'
const prod = { risk_tags: ['prod'], payload: { id: 'T-1' } }

let nats: TestNats
let config: Config
let gateway: Gateway
let agent: NatsConnection
let approver: NatsConnection
let policy: string

beforeAll(async () => {
  nats = await startTestNats()
  policy = await readFile('deploy/policy.yaml', 'utf8')
  config = await testConfig(nats, policy)
  gateway = await startGateway(config)
  agent = await nats.connect('demo')
  approver = await nats.connect('demo-approver')
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

type Answered = {
  status?: number
  code?: string
  state?: string
  detail?: string
  resolution?: { decision: string; by: string; note: string }
}

async function resolve(job: string, wish: object, by = approver, name = 'demo-approver'): Promise<Answered> {
  return (
    await by.request(`approvals.resolve.${name}.${job}`, JSON.stringify(wish), { timeout: 5_000 })
  ).json()
}

test('an approver pulls exactly what would run, approves it, and it runs once', async () => {
  const worker = await coreWorker(nats, 'helpdesk-1', () => ({ body: '{}' }))
  const parked = await ask(agent, write, prod)
  expect(parked).toMatchObject({ state: 'PARKED', next: 'wait', decision: { type: 'REQUIRE_APPROVAL' } })
  expect(parked.approval?.expires_at).toBeDefined()

  const inbox = `_INBOX_demo-approver.pulled`
  const card = new Promise<{ body: unknown; hash: string; policy: string; expires: string }>((done) =>
    approver.subscribe(inbox, {
      callback: (_e, m) =>
        done({
          body: m.json(),
          hash: m.headers?.get('Sluice-Job-Hash') ?? '',
          policy: m.headers?.get('Sluice-Policy') ?? '',
          expires: m.headers?.get('Sluice-Expires') ?? '',
        }),
    }),
  )
  approver.publish(
    'gov.API.CONSUMER.MSG.NEXT.APPROVALS.approvers',
    JSON.stringify({ batch: 1, expires: 5e9 }),
    {
      reply: inbox,
    },
  )
  const seen = await card
  expect(seen.body).toEqual(prod)
  expect(seen.hash).toBe(parked.job_hash)
  expect(seen.expires).toBe(parked.approval?.expires_at)

  const answer = await resolve(parked.job_id, {
    decision: 'approve',
    note: 'looks right',
    job_hash: seen.hash,
    policy_snapshot: seen.policy,
  })
  expect(answer).toMatchObject({
    state: 'DISPATCHED',
    resolution: { by: 'demo-approver', note: 'looks right' },
  })
  const records = await until(async () => {
    const found = await readJob(nats, parked.job_id)
    return found.at(-1)?.data.terminal !== undefined && found
  })
  expect(records.map(({ data }) => data.event)).toEqual(['parked', 'approved', 'succeeded'])
  expect(records[1]?.data.resolution).toMatchObject({ binding: 'client', via: 'nats' })
  expect(worker.seen.filter((m) => m.headers?.get('Sluice-Job') === parked.job_id)).toHaveLength(1)

  const second = await resolve(parked.job_id, { decision: 'reject', note: 'too late' })
  expect(second).toMatchObject({ status: 409, code: 'already_resolved' })
  expect(second.detail).toContain('demo-approver')
})

test('a resolution bound to another policy is refused and the job stays parked', async () => {
  const parked = await ask(agent, write, prod)
  const other = { policy_snapshot: 'b'.repeat(64) }
  const answer = await resolve(parked.job_id, { decision: 'approve', note: '', ...other })
  expect(answer).toMatchObject({ status: 409, code: 'stale_binding', state: 'PARKED' })
})

test('a rejection ends the job and says who and why', async () => {
  const parked = await ask(agent, write, prod)
  const answer = await resolve(parked.job_id, { decision: 'reject', note: 'not today' })
  expect(answer).toMatchObject({ state: 'REJECTED', resolution: { decision: 'reject', note: 'not today' } })
  const records = await readJob(nats, parked.job_id)
  expect(records.at(-1)?.data.terminal?.status).toBe('REJECTED')
})

test('an unknown job and an unreadable resolution are answered with a problem, and nothing is lost', async () => {
  expect(await resolve(`default.s${'0'.repeat(26)}`, { decision: 'approve', note: '' })).toMatchObject({
    status: 404,
  })
  const parked = await ask(agent, write, prod)
  const garbage = await approver.request(
    `approvals.resolve.demo-approver.${parked.job_id}`,
    '{"decision":"yes"}',
  )
  expect(garbage.json()).toMatchObject({ status: 400, code: 'invalid' })
  expect(await resolve(parked.job_id, { decision: 'reject', note: '' })).toMatchObject({ state: 'REJECTED' })
})
