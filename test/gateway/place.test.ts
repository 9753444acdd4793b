import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Msg, NatsConnection } from '@nats-io/transport-node'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { answerJob, ask, readJob, testConfig, until } from '../helpers/gateway.ts'

const policy = `version: v1
rules:
  - id: two-at-once
    match: { topics: ["job.narrow.*"] }
    decision: allow_with_constraints
    constraints: { max_concurrency: 2, max_runtime_sec: 2 }
`

let nats: TestNats
let gateways: Gateway[]
let agent: NatsConnection

beforeAll(async () => {
  nats = await startTestNats()
  const config = await testConfig(nats, policy)
  gateways = [await startGateway(config), await startGateway({ ...config, gateway: 'test-2' })]
  agent = await nats.connect('demo')
})
afterAll(async () => {
  await Promise.all(gateways.map((gateway) => gateway.stop()))
  await nats.stop()
})

test('never more jobs of a rule run at once than it allows, over two gateways, and all of them run', async () => {
  const worker = await nats.connect('helpdesk-1')
  const running = new Map<string, Msg>()
  let most = 0
  worker.subscribe('worker.helpdesk.>', {
    queue: 'helpdesk',
    callback: (_e, job) => {
      running.set(job.headers?.get('Sluice-Job') ?? '', job)
      most = Math.max(most, running.size)
      setTimeout(() => {
        running.delete(job.headers?.get('Sluice-Job') ?? '')
        answerJob(worker, 'helpdesk-1', job, '{}')
      }, 50)
    },
  })
  await worker.flush()
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, n) => ask(agent, 'job.narrow.x', { payload: n })),
  )
  expect(answers.filter(({ state }) => state === 'DISPATCHED')).toHaveLength(2)
  expect(answers.filter(({ decision }) => decision.type === 'THROTTLE')).toHaveLength(6)
  for (const { job_id } of answers) {
    const records = await until(async () => {
      const found = await readJob(nats, job_id)
      return found.at(-1)?.data.terminal !== undefined && found
    })
    expect(records.at(-1)?.data.event).toBe('succeeded')
    expect(records.filter(({ data }) => data.event === 'throttled').length).toBeLessThan(2)
  }
  expect(most).toBe(2)
})

test('a job that never answers gives its place back when its time is over', async () => {
  const silent = await Promise.all([
    ask(agent, 'job.narrow.x', { payload: 'a' }),
    ask(agent, 'job.narrow.x', { payload: 'b' }),
  ])
  expect(silent.every(({ state }) => state === 'DISPATCHED' || state === 'THROTTLED')).toBe(true)
  const next = await ask(agent, 'job.narrow.x', { payload: 'c' })
  await until(async () => (await readJob(nats, next.job_id)).at(-1)?.data.terminal !== undefined)
})
