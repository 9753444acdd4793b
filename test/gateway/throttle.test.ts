import { afterAll, beforeAll, expect, test } from 'vitest'
import type { NatsConnection } from '@nats-io/transport-node'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { apiOf } from '../helpers/api.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { ask, coreWorker, readJob, testConfig, until } from '../helpers/gateway.ts'

const policy = `version: v1
rules:
  - id: slow
    match: { topics: ["job.slow.*"] }
    decision: throttle
    throttle: { rate: 2, per: 1s, max_wait: 2s }
  - id: strict
    match: { topics: ["job.strict.*"] }
    decision: throttle
    throttle: { rate: 1, per: 1m, on_limit: deny, key: [actor] }
  - id: slow-approval
    match: { topics: ["job.slow.ask"] }
    decision: require_approval
  - id: slow-limits
    match: { topics: ["job.slow.ask"] }
    decision: allow_with_constraints
    constraints: { max_runtime_sec: 30 }
`

let nats: TestNats
let gateway: Gateway
let agent: NatsConnection

beforeAll(async () => {
  nats = await startTestNats()
  gateway = await startGateway(await testConfig(nats, policy))
  agent = await nats.connect('demo')
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

test('within the limit jobs run at once, beyond it they wait their turn, and past max_wait they expire', async () => {
  await coreWorker(nats, 'helpdesk-1', () => ({ body: '{}' }))
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, n) => ask(agent, 'job.slow.run', { payload: { n } })),
  )
  const types = answers.map(({ decision }) => decision.type)
  expect(types.filter((type) => type === 'ALLOW')).toHaveLength(2)
  expect(types.filter((type) => type === 'THROTTLE')).toHaveLength(6)
  for (const answer of answers) expect(answer.decision.rule_id).toBe('slow')
  for (const { state, retry_after_ms } of answers)
    if (state === 'THROTTLED') expect(retry_after_ms).toBeGreaterThan(0)

  const chains = await Promise.all(
    answers.map((answer) =>
      until(async () => {
        const records = await readJob(nats, answer.job_id)
        return records.at(-1)?.data.terminal !== undefined && records
      }),
    ),
  )
  const ends = chains.map((records) => records.at(-1)?.data.terminal?.status)
  expect(ends.filter((end) => end === 'SUCCEEDED')).toHaveLength(6)
  expect(ends.filter((end) => end === 'EXPIRED')).toHaveLength(2)
  const waited = chains.filter((records) => records.length === 3)
  for (const [throttled, allowed] of waited)
    expect(Date.parse(allowed?.time ?? '')).toBeGreaterThanOrEqual(
      Date.parse(throttled?.data.throttle?.not_before ?? ''),
    )
  const slots = waited
    .map(([first]) => Date.parse(first?.data.throttle?.not_before ?? ''))
    .toSorted((x, y) => x - y)
  expect(slots).toHaveLength(4)
  for (const [index, slot] of slots.entries())
    if (index >= 2) expect(slot - (slots[index - 2] ?? 0)).toBeGreaterThanOrEqual(1_000)
})

test('a job that must wait and be approved waits first, then parks, then runs with its constraints', async () => {
  const approver = await nats.connect('demo-approver')
  const worker = await coreWorker(nats, 'helpdesk-2', () => ({ body: '{}' }))
  const answers = await Promise.all(
    Array.from({ length: 3 }, (_, n) => ask(agent, 'job.slow.ask', { payload: { n } })),
  )
  const waiting = answers.find(({ state }) => state === 'THROTTLED')
  if (waiting === undefined) throw new Error('nobody had to wait')
  await until(async () => (await readJob(nats, waiting.job_id)).at(-1)?.data.state.to === 'PARKED')
  await until(async () => {
    const answer = await approver.request(
      `approvals.resolve.demo-approver.${waiting.job_id}`,
      JSON.stringify({ decision: 'approve', note: 'ok' }),
    )
    return answer.json<{ state?: string }>().state === 'DISPATCHED'
  })
  const records = await until(async () => {
    const found = await readJob(nats, waiting.job_id)
    return found.at(-1)?.data.terminal !== undefined && found
  })
  expect(records.map(({ data }) => data.event)).toEqual(['throttled', 'parked', 'approved', 'succeeded'])
  const job = worker.seen.find((m) => m.headers?.get('Sluice-Job') === waiting.job_id)
  if (job !== undefined)
    expect(JSON.parse(job.headers?.get('Sluice-Constraints') ?? '')).toEqual({ max_runtime_sec: 30 })
})

test('a limit that would rather refuse than wait ends the job with THROTTLE and a hint to retry', async () => {
  expect(await ask(agent, 'job.strict.x', {})).toMatchObject({ state: 'DISPATCHED' })
  const second = await ask(agent, 'job.strict.x', {})
  expect(second).toMatchObject({
    state: 'DENIED',
    decision: { type: 'THROTTLE', rule_id: 'strict' },
    next: 'retry',
  })
  expect(second.retry_after_ms).toBeGreaterThan(0)
  expect((await readJob(nats, second.job_id)).at(-1)?.data.throttle).toMatchObject({ rule_id: 'strict' })
  const strict = await apiOf(gateway.httpUrl)('POST', '/api/v1/jobs?strict=true', { topic: 'job.strict.x' })
  expect([strict.status, strict.body['code']]).toEqual([429, 'throttled'])
  expect(Number(strict.headers.get('Retry-After'))).toBeGreaterThan(0)
  const sibling = await nats.connect('support-bot')
  expect(await ask(sibling, 'job.support-bot.strict.x', {})).toMatchObject({ state: 'DISPATCHED' })
})
