import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'

import { startGateway } from '../../gateway/gateway.ts'
import { evaluate } from '../../policy/evaluate.ts'
import { ask, coreWorker, readJob, testConfig, until } from '../helpers/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { reconnecting } from './patience.ts'

const policy = `version: v1
rules:
  - { id: free, match: { topics: ["job.free.*"] }, decision: allow }
`

let nats: TestNats
afterEach(() => nats.stop())

test('without its server a gateway is red and does nothing; when the server is back, it goes on where it was', async () => {
  nats = await startTestNats()
  const gateway = await startGateway(await testConfig(nats, policy))
  const worker = await coreWorker(nats, 'helpdesk-1', () => undefined)
  const agent = await nats.connect('demo', reconnecting)
  const { job_id } = await ask(agent, 'job.free.before', {}, 'before')
  const ready = async (): Promise<number> => (await fetch(`${gateway.httpUrl}/readyz`)).status
  expect(await ready()).toBe(200)

  await nats.kill9()
  await until(async () => (await ready()) === 503)
  expect((await fetch(`${gateway.httpUrl}/healthz`)).status).toBe(200)
  const refused = await fetch(`${gateway.httpUrl}/api/v1/jobs`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': 'meanwhile' },
    body: JSON.stringify({ topic: 'job.free.meanwhile' }),
  })
  expect(refused.status).toBe(503)

  await nats.restart()
  await until(async () => (await ready()) === 200)
  // The first answers after an outage may be "not now"; the message id makes asking again the same job.
  await until(async () => {
    const answer = await ask(agent, 'job.free.after', {}, 'after').catch(() => undefined)
    return answer?.state === 'DISPATCHED'
  })
  expect((await readJob(nats, job_id)).map(({ data }) => data.event)).toEqual(['allowed'])
  // The worker's own connection comes back by itself; nothing is dispatched twice for it.
  const again = await ask(agent, 'job.free.before', {}, 'before')
  expect(again).toMatchObject({ job_id, duplicate: true })
  expect(worker.seen.filter((job) => job.headers?.get('Sluice-Job') === job_id)).toHaveLength(1)
  await gateway.stop()
})

test('an evaluator that is held up for three seconds dispatches nothing and leaves a record that says so', async () => {
  nats = await startTestNats()
  let heldMs = 3_000
  const gateway = await startGateway(await testConfig(nats, policy), {
    evaluate: (...given) => {
      for (const untilMs = performance.now() + heldMs; performance.now() < untilMs;);
      return evaluate(...given)
    },
  })
  const worker = await coreWorker(nats, 'helpdesk-1', () => ({ body: '{}' }))
  const agent = await nats.connect('demo')
  const held = await ask(agent, 'job.free.held', {}, 'held', 10_000)
  const answer = held.error === undefined ? held : await ask(agent, 'job.free.held', {}, 'held', 10_000)
  const decision = { type: 'DENY', rule_id: 'sluice.timeout' }
  expect(answer).toMatchObject({ state: 'DENIED', decision, next: 'retry' })
  const records = await readJob(nats, answer.job_id)
  expect(records.map(({ data }) => data.event)).toEqual(['denied'])
  expect(records[0]?.data.decision).toMatchObject(decision)
  heldMs = 0
  expect((await ask(agent, 'job.free.run', {}, 'run')).state).toBe('DISPATCHED')
  await until(() => worker.seen.length > 0)
  await sleep(100)
  expect(worker.seen.map((job) => job.headers?.get('Sluice-Topic'))).toEqual(['job.free.run'])
  await gateway.stop()
})
