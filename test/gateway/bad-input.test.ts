import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { NatsConnection } from '@nats-io/transport-node'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { ask, coreWorker, readAudit, readJob, testConfig, until } from '../helpers/gateway.ts'

const read = 'job.mcp-bridge.read.get_ticket'
let nats: TestNats
let gateway: Gateway
let agent: NatsConnection

beforeAll(async () => {
  nats = await startTestNats()
  gateway = await startGateway(await testConfig(nats, await readFile('deploy/policy.yaml', 'utf8')))
  agent = await nats.connect('demo')
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

const large = 'x'.repeat(300_000)
test.each([
  ['no JSON', read, '{', 'sluice.invalid-job'],
  ['nothing at all', read, '', 'sluice.invalid-job'],
  ['an unknown key', read, '{"risk_tag":["prod"]}', 'sluice.invalid-job'],
  ['a duplicate key', read, '{"payload":1,"payload":2}', 'sluice.invalid-job'],
  ['a __proto__ label', read, '{"labels":{"__proto__":"x"}}', 'sluice.invalid-job'],
  ['broken UTF-8', read, new Uint8Array([123, 34, 255, 34, 125]), 'sluice.invalid-job'],
  ['a body over the limit', read, JSON.stringify({ payload: large }), 'sluice.invalid-job'],
  ['another tenant', read, '{"tenant_id":"acme"}', 'sluice.identity-mismatch'],
  ['a topic token with a space mark', 'job.mcp-bridge.read.a~b', '{}', 'sluice.invalid-job'],
  ['seventeen tokens', `job.${Array.from({ length: 17 }, () => 'a').join('.')}`, '{}', 'sluice.invalid-job'],
])('%s is a recorded denial that says what is wrong', async (_name, subject, body, rule) => {
  const answer = await ask(agent, subject, body)
  expect(answer).toMatchObject({
    state: 'DENIED',
    decision: { type: 'DENY', rule_id: rule },
    next: 'change_request',
  })
  expect(answer.decision.reason.length).toBeGreaterThan(10)
  const records = await readJob(nats, answer.job_id)
  expect(records).toHaveLength(1)
  expect(records[0]?.data.decision).toEqual(answer.decision)
})

test('a topic of 4,000 characters and a body just under max_payload leave a denial and a living gateway', async () => {
  const long = await ask(agent, `job.${'a'.repeat(3_990)}`, '{}')
  expect(long.decision.rule_id).toBe('sluice.invalid-job')
  const huge = new Uint8Array((agent.info?.max_payload ?? 0) - 16).fill(32)
  const answer = await ask(agent, read, huge)
  expect(answer.decision.rule_id).toBe('sluice.invalid-job')
  expect((await ask(agent, read, {})).decision.type).toBe('ALLOW')
})

test('the same request twice without a message id is two jobs, each dispatched once', async () => {
  const worker = await coreWorker(nats, 'helpdesk-1', () => ({ body: '{}' }))
  const body = { payload: { same: true } }
  const answers = [await ask(agent, read, body), await ask(agent, read, body)]
  const ids = answers.map(({ job_id }) => job_id)
  expect(new Set(ids).size).toBe(2)
  await until(() => ids.every((id) => worker.seen.some((job) => job.headers?.get('Sluice-Job') === id)))
  for (const id of ids)
    expect(worker.seen.filter((job) => job.headers?.get('Sluice-Job') === id)).toHaveLength(1)
})

test('a message id is one job: the same bytes get its state, other bytes are refused beside the chain', async () => {
  const first = await ask(agent, read, { payload: 1 }, 'key-1')
  await new Promise((resolve) => setTimeout(resolve, 150))
  const again = await ask(agent, read, { payload: 1 }, 'key-1')
  expect(again).toMatchObject({ job_id: first.job_id, duplicate: true })
  const quick = await ask(agent, read, { payload: 1 }, 'key-1')
  expect(quick).toMatchObject({ job_id: first.job_id, duplicate: true })
  await new Promise((resolve) => setTimeout(resolve, 150))
  const other = await ask(agent, read, { payload: 2 }, 'key-1')
  expect(other).toMatchObject({ job_id: first.job_id, decision: { rule_id: 'sluice.idempotency-conflict' } })
  const refused = (await readAudit(nats)).filter(
    ({ subject }) => subject === `audit._refused.${first.job_id}`,
  )
  expect(refused).toHaveLength(1)
  const chain = await readJob(nats, first.job_id)
  expect(chain.map(({ data }) => data.job_seq)).toEqual(chain.map((_record, index) => index))
})

test('a sibling that uses my message id first changes nothing for me', async () => {
  const [mine, sibling] = await Promise.all([nats.connect('support-bot'), nats.connect('billing-bot')])
  const theirs = await ask(sibling, 'job.billing-bot.mcp-bridge.read.x', { payload: 1 }, 'shared-id')
  const own = await ask(mine, 'job.support-bot.mcp-bridge.read.x', { payload: 1 }, 'shared-id')
  expect(own).toMatchObject({ state: 'DISPATCHED', duplicate: false })
  expect(own.job_id).not.toBe(theirs.job_id)
})

test('a flood of unreadable jobs is answered, counted, and recorded only up to a bound', async () => {
  const before = (await readAudit(nats)).length
  const answers = await Promise.all(Array.from({ length: 400 }, (_, n) => ask(agent, read, `{"nope":${n}}`)))
  expect(answers.every(({ decision }) => decision.rule_id === 'sluice.invalid-job')).toBe(true)
  expect((await readAudit(nats)).length - before).toBeLessThan(200)
})

test('an evaluator held up for three seconds dispatches nothing and leaves a record', async () => {
  await gateway.stop()
  const slow = await testConfig(nats, await readFile('deploy/policy.yaml', 'utf8'))
  const { evaluate } = await import('../../policy/evaluate.ts')
  gateway = await startGateway(slow, {
    evaluate: (...input) => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_000)
      return evaluate(...input)
    },
  })
  agent.publish(read, '{"payload":"slow"}')
  // The gateway runs in this process: while it is held up, so is the reader.
  await new Promise((resolve) => setTimeout(resolve, 3_500))
  const record = await until(async () =>
    (await readAudit(nats)).find(({ record: one }) => one.data.decision?.rule_id === 'sluice.timeout'),
  )
  expect(record.record.data.state).toEqual({ from: 'RECEIVED', to: 'DENIED' })
})
