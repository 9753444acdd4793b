import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { apiOf, type ApiCall } from '../helpers/api.ts'
import { readAudit, testConfig } from '../helpers/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'

let nats: TestNats
let gateway: Gateway
let api: ApiCall
let policy: string

beforeAll(async () => {
  nats = await startTestNats()
  policy = await readFile('deploy/policy.yaml', 'utf8')
  gateway = await startGateway(await testConfig(nats, policy))
  api = apiOf(gateway.httpUrl)
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

const ask = (how: string, body: unknown): ReturnType<ApiCall> => api('POST', `/api/v1/policy/${how}`, body)

describe('evaluate', () => {
  test.each([
    ['job.mcp-bridge.read.x', [], 'ALLOW', 'allow-low-risk-read'],
    ['job.mcp-bridge.read.x', ['destructive'], 'DENY', 'deny-destructive'],
    ['job.mcp-bridge.write.x', ['prod'], 'REQUIRE_APPROVAL', 'require-approval-prod-write'],
    ['job.agent.exec.x', ['medium'], 'ALLOW_WITH_CONSTRAINTS', 'constrain-medium-risk'],
    ['job.mcp-bridge.write.x', [], 'DENY', 'sluice.no-match'],
  ])('%s %j would be %s, and nothing is recorded or run', async (topic, risk_tags, type, rule_id) => {
    const before = (await readAudit(nats)).length
    const answer = await ask('evaluate', { topic, risk_tags })
    expect(answer.status).toBe(200)
    expect(answer.body['decision']).toMatchObject({ type, rule_id })
    expect(await readAudit(nats)).toHaveLength(before)
  })

  test('takes the job bare or under "job", with the same answer', async () => {
    for (const how of ['evaluate', 'explain']) {
      const job = { topic: 'job.mcp-bridge.write.x', risk_tags: ['prod'] }
      const [bare, wrapped] = [await ask(how, job), await ask(how, { job })]
      expect(wrapped.body).toEqual(bare.body)
      expect((await ask(how, { job: null })).status).toBe(400)
      expect((await ask(how, { job, polcy: '' })).status).toBe(400)
    }
  })

  test('refuses what submitting would refuse, with the same words', async () => {
    for (const job of [
      { topic: 'x' },
      { topic: 'job.a.b', tenant_id: 'acme' },
      { topic: 'job.a.b', risk_tag: [] },
      {},
    ]) {
      const [asked, submitted] = [await ask('evaluate', job), await api('POST', '/api/v1/jobs', job)]
      expect([asked.status, asked.body['code']]).toEqual([submitted.status, submitted.body['code']])
    }
  })
})

test('explain adds every rule that matched', async () => {
  const answer = await ask('explain', { topic: 'job.mcp-bridge.write.x', risk_tags: ['prod', 'destructive'] })
  expect(answer.body).toMatchObject({
    decision: { type: 'DENY', rule_id: 'deny-destructive' },
    matched: ['deny-destructive', 'require-approval-prod-write'],
    matched_rules: [
      { id: 'deny-destructive', decision: 'deny' },
      {
        id: 'require-approval-prod-write',
        decision: 'require_approval',
        reason: 'Production writes require human review',
      },
    ],
    rules: 4,
  })
})

test('explain says what came close, and may be asked for somebody else', async () => {
  const answer = await ask('explain', { topic: 'job.mcp-bridge.read.a.b', tenant: 'acme', actor: 'bob' })
  expect(answer.body).toMatchObject({
    type: 'DENY',
    risk_tags: { declared: [], derived: [] },
  })
  const [nearest] = answer.body['near_misses'] as unknown[]
  expect(nearest).toMatchObject({
    rule_id: 'allow-low-risk-read',
    failed: [{ clause: 'match.topics' }],
    change: { outcome: { type: 'ALLOW' } },
  })
  expect((await ask('explain', { topic: 'job.a', tenant: 'A' })).status).toBe(400)
})

describe('simulate', () => {
  const job = { topic: 'job.mcp-bridge.write.x', risk_tags: ['prod'] }

  test('says what another policy would decide, beside the one in force', async () => {
    const stricter = policy.replace('risk_tags: ["destructive"]', 'risk_tags: ["prod"]')
    const answer = await ask('simulate', { job, policy: stricter })
    expect(answer.body).toMatchObject({
      changed: true,
      current: { decision: { type: 'REQUIRE_APPROVAL' } },
      simulated: { decision: { type: 'DENY', rule_id: 'deny-destructive' } },
    })
    expect((await ask('simulate', { job, policy })).body).toMatchObject({ changed: false })
  })

  test('takes the policy as JSON, too', async () => {
    const allow = { version: 'v1', rules: [{ id: 'a', match: {}, decision: 'allow' }] }
    const [object, text] = [
      await ask('simulate', { job, policy: allow }),
      await ask('simulate', { job, policy: JSON.stringify(allow) }),
    ]
    expect(object.body).toMatchObject({ changed: true, simulated: { decision: { type: 'ALLOW' } } })
    expect(object.body).toEqual(text.body)
  })

  test('refuses a policy that does not load, with its places', async () => {
    const answer = await ask('simulate', { job, policy: policy.replace('decision: deny', 'decision: denny') })
    expect([answer.status, answer.body['code']]).toEqual([422, 'invalid_policy'])
    expect(answer.body['detail']).toMatch(/deny/)
    expect(answer.body['problems']).toMatchObject([
      { line: policy.split('\n').findIndex((line) => line.endsWith('decision: deny')) + 1, column: 15 },
    ])
  })

  test.each([
    [{ job }],
    [{ policy: 'x' }],
    [{ job, policy: 1 }],
    [{ job, policy: '', more: 1 }],
    [{ job: null, policy: 'version: v1\nrules: []\n' }],
  ])('refuses %j', async (body) => {
    expect([400, 422]).toContain((await ask('simulate', body)).status)
  })
})
