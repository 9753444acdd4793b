import { afterAll, beforeAll, expect, test } from 'vitest'
import type { NatsConnection } from '@nats-io/transport-node'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { ask, coreWorker, readAudit, readJob, testConfig, until } from '../helpers/gateway.ts'

const policy = `version: v1
rules:
  - id: free
    match: { topics: ["job.free.*"] }
    decision: allow
  - id: asked
    match: { topics: ["job.asked.*"] }
    decision: require_approval
    approval: { expires_in: 3s }
  - id: slow
    match: { topics: ["job.slow.*"] }
    decision: throttle
    throttle: { rate: 1, per: 1s, max_wait: 10s }
`

let nats: TestNats
let gateways: Gateway[]
let agent: NatsConnection

beforeAll(async () => {
  nats = await startTestNats()
  const config = await testConfig(nats, policy)
  gateways = [await startGateway(config), await startGateway({ ...config, gateway: 'test-2' })]
  agent = await nats.connect('demo')
  await coreWorker(nats, 'helpdesk-1', () => ({ body: '{}' }))
})
afterAll(async () => {
  await Promise.all(gateways.map((gateway) => gateway.stop()))
  await nats.stop()
})

type Shown = { id: string; state: string }
async function order(path: string, body: object): Promise<Shown & { status?: number; code?: string }> {
  const response = await fetch(`${gateways[0]?.httpUrl ?? ''}/api/v1/control/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return (await response.json()) as Shown
}

test('under load nothing is enabled later than a second after the order, on either gateway', async () => {
  let going = true
  let sent = 0
  const load = (async () => {
    while (going) {
      await Promise.all(Array.from({ length: 10 }, () => ask(agent, 'job.free.x', { payload: sent++ })))
    }
  })()
  await until(() => sent > 30)
  const stop = await order('stop', { scope: { kind: 'all' }, reason: 'incident 7' })
  await new Promise((resolve) => setTimeout(resolve, 2_000))
  going = false
  await load
  const records = (await readAudit(nats)).map(({ record }) => record)
  const stopped = records.find(({ type }) => type === 'sluice.control.stopped.v1')
  expect(stopped?.data).toMatchObject({ id: stop.id, by: 'demo-approver', reason: 'incident 7' })
  const stoppedMs = Date.parse(stopped?.time ?? '')
  const enabling = records.filter(({ data }) => ['allowed', 'approved', 'retried'].includes(data.event))
  expect(enabling.length).toBeGreaterThan(10)
  expect(enabling.filter(({ time }) => Date.parse(time) > stoppedMs + 1_000)).toEqual([])
  expect(records.filter(({ data }) => data.decision?.rule_id === 'sluice.stopped').length).toBeGreaterThan(10)
  expect(await ask(agent, 'job.free.x', {})).toMatchObject({ state: 'DENIED', next: 'retry' })
  await order('resume', { id: stop.id, stage: 'resumed', reason: 'over' })
  // Either gateway may still act on its reading from before, for as long as one is good.
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  expect(await ask(agent, 'job.free.x', {})).toMatchObject({ state: 'DISPATCHED' })
})

test('what waits is frozen with its remaining time, goes on when drained, and new jobs come in only when resumed', async () => {
  const approver = await nats.connect('demo-approver')
  const parked = await ask(agent, 'job.asked.x', {})
  await ask(agent, 'job.slow.x', {})
  const waiting = await ask(agent, 'job.slow.x', {})
  expect(waiting.state).toBe('THROTTLED')
  const stop = await order('stop', { scope: { kind: 'tenant', tenant: 'default' }, reason: 'look' })
  await new Promise((resolve) => setTimeout(resolve, 4_000))
  expect((await readJob(nats, parked.job_id)).at(-1)?.data.state.to).toBe('PARKED')
  expect((await readJob(nats, waiting.job_id)).at(-1)?.data.state.to).toBe('THROTTLED')
  const refused = await approver.request(
    `approvals.resolve.demo-approver.${parked.job_id}`,
    JSON.stringify({ decision: 'approve', note: '' }),
  )
  expect(refused.json()).toMatchObject({ status: 409, code: 'stopped' })

  await order('resume', { id: stop.id, stage: 'draining', reason: 'first the queue' })
  await until(async () => (await readJob(nats, waiting.job_id)).at(-1)?.data.terminal?.status === 'SUCCEEDED')
  expect(await ask(agent, 'job.free.x', {})).toMatchObject({
    state: 'DENIED',
    decision: { rule_id: 'sluice.stopped' },
  })
  await until(async () => (await readJob(nats, parked.job_id)).at(-1)?.data.terminal?.status === 'EXPIRED')
  await order('resume', { id: stop.id, stage: 'resumed', reason: 'all clear' })
  await until(async () => (await ask(agent, 'job.free.x', {})).state === 'DISPATCHED')
  expect(await order('resume', { id: 'nobody', stage: 'resumed', reason: 'x' })).toMatchObject({
    status: 404,
  })
})
