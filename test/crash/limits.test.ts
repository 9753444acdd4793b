import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'

import type { NatsConnection } from '@nats-io/transport-node'

import { connectBus, type Bus } from '../../gateway/bus/bus.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { createLimiter } from '../../gateway/limiter.ts'
import type { Throttle } from '../../policy/evaluate.ts'
import { ask, coreWorker, readJob, testConfig, until } from '../helpers/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'

const policy = `version: v1
rules:
  - id: two-a-minute
    match: { topics: ["job.slow.*"] }
    decision: throttle
    throttle: { rate: 2, per: 1m, max_wait: 5m }
  - id: one-at-once
    match: { topics: ["job.single.*"] }
    decision: allow_with_constraints
    constraints: { max_concurrency: 1 }
`

let nats: TestNats
let bus: Bus
let gateway: Gateway
let agent: NatsConnection

/** Longer than the stream's dedupe window, so that a retry is stored and reaches the gateway again. */
const afterDedupeMs = 200

beforeAll(async () => {
  nats = await startTestNats()
  gateway = await startGateway(await testConfig(nats, policy))
  agent = await nats.connect('demo')
  bus = await connectBus({
    url: nats.url,
    user: 'gateway',
    password: nats.passwords['gateway'],
    inboxPrefix: '_INBOX_gateway',
    name: 'limits test',
  })
})
afterAll(async () => {
  await bus.close()
  await gateway.stop()
  await nats.stop()
})

test('a limit answers somebody who asks again in the moment of the answer', async () => {
  const limiter = createLimiter(bus)
  const limit: Throttle = {
    ruleId: 'r',
    key: 'r',
    keyedBy: [],
    rate: 5,
    perMs: 1_000,
    burst: 5,
    maxWaitMs: 60_000,
    onLimit: 'wait',
  }
  const first = await limiter.take(limit, Date.now())
  const second = await limiter.take(limit, Date.now())
  expect([first.type, second.type]).toEqual(['granted', 'granted'])
})

test('an agent that sends the same job again takes no further slot of the limit', async () => {
  const first = await ask(agent, 'job.slow.run', {}, 'same')
  for (let retry = 0; retry < 3; retry++) {
    await sleep(afterDedupeMs)
    expect(await ask(agent, 'job.slow.run', {}, 'same')).toMatchObject({
      job_id: first.job_id,
      duplicate: true,
    })
  }
  const second = await ask(agent, 'job.slow.run', {}, 'other')
  expect([first.decision.type, second.decision.type]).toEqual(['ALLOW', 'ALLOW'])
})

test('an agent that sends the same job again after its end takes no place from another', async () => {
  await coreWorker(nats, 'helpdesk-1', () => ({ body: '{}' }))
  const { job_id } = await ask(agent, 'job.single.run', {}, 'single')
  await until(async () => (await readJob(nats, job_id)).at(-1)?.data.terminal !== undefined)
  await sleep(afterDedupeMs)
  expect(await ask(agent, 'job.single.run', {}, 'single')).toMatchObject({
    duplicate: true,
    state: 'SUCCEEDED',
  })
  expect((await ask(agent, 'job.single.run', {}, 'next')).state).toBe('DISPATCHED')
})
