import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { NatsConnection } from '@nats-io/transport-node'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { ask, coreWorker, readJob, testConfig, until } from '../helpers/gateway.ts'

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

test('a read job is allowed, runs once on a worker, and its output reaches the agent', async () => {
  const worker = await coreWorker(nats, 'helpdesk-1', () => ({ body: '{"ticket":"T-1"}' }))
  const outputs: string[] = []
  agent.subscribe('output.>', { callback: (_e, m) => void outputs.push(m.string()) })
  await agent.flush()
  const answer = await ask(agent, 'job.mcp-bridge.read.get_ticket', { payload: { id: 'T-1' } })
  expect(answer).toMatchObject({
    state: 'DISPATCHED',
    decision: { type: 'ALLOW', rule_id: 'allow-low-risk-read' },
    stream: 'JOBS_default_demo',
    duplicate: false,
  })
  await until(() => outputs.length > 0)
  expect(outputs).toEqual(['{"ticket":"T-1"}'])
  expect(worker.seen).toHaveLength(1)
  const records = await until(async () => {
    const found = await readJob(nats, answer.job_id)
    return found.length === 2 && found
  })
  expect(records.map(({ data }) => data.state.to)).toEqual(['DISPATCHED', 'SUCCEEDED'])
})

test.each([
  ['job.mcp-bridge.read.x', [], 'ALLOW'],
  ['job.mcp-bridge.read.x', ['destructive'], 'DENY'],
  ['job.mcp-bridge.write.x', ['prod'], 'REQUIRE_APPROVAL'],
  ['job.mcp-bridge.write.x', ['prod', 'destructive'], 'DENY'],
  ['job.mcp-bridge.write.x', [], 'DENY'],
  ['job.agent.exec.run', ['medium'], 'ALLOW_WITH_CONSTRAINTS'],
  ['job.mcp-bridge.read.a.b', [], 'DENY'],
])('%s tagged %j is decided %s on the real bus', async (subject, risk_tags, type) => {
  const answer = await ask(agent, subject, { risk_tags })
  expect(answer.decision.type).toBe(type)
  const records = await readJob(nats, answer.job_id)
  expect(records[0]?.data.decision).toEqual(answer.decision)
})
