import { afterAll, beforeAll, expect, test } from 'vitest'
import type { NatsConnection } from '@nats-io/transport-node'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { run as approval } from '../../cli/approval.ts'
import { apiOf, type ApiCall } from '../helpers/api.ts'
import { approverOn, type Resolve } from '../helpers/approver.ts'
import { ask, readJob, testConfig } from '../helpers/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { testTerminal } from '../helpers/terminal.ts'

const policy = `version: v1
rules:
  - { id: ask, match: { topics: ["job.ask.*"] }, decision: require_approval }
  - id: second-only
    match: { topics: ["job.theirs.*"] }
    decision: require_approval
    approval: { thresholds: [{ from: { persons: [second-approver] }, approve: 1 }] }
`
const quarterHourMs = 15 * 60_000

let nats: TestNats
let gateway: Gateway
let agent: NatsConnection
let api: ApiCall
let second: Resolve
let skewMs = 0

beforeAll(async () => {
  nats = await startTestNats()
  gateway = await startGateway(await testConfig(nats, policy), { nowMs: () => Date.now() + skewMs })
  agent = await nats.connect('demo')
  api = apiOf(gateway.httpUrl)
  second = await approverOn(nats, 'second-approver')
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

const park = async (topic = 'job.ask.x'): Promise<string> => (await ask(agent, topic, {})).job_id
const claim = { decision: 'claim', note: 'looking at the ticket' }

test('a claim is on record, is shown to everybody, and locks nothing', async () => {
  const job = await park()
  expect(await second(job, claim)).toMatchObject({
    job_id: job,
    state: 'PARKED',
    claim: { by: 'second-approver', via: 'nats', note: 'looking at the ticket' },
  })
  const { body } = await api('GET', `/api/v1/approvals/${job}`)
  expect(body).toMatchObject({ state: 'PARKED', votes: [], claim: { by: 'second-approver' } })
  const terminal = testTerminal({ SLUICE_URL: gateway.httpUrl })
  await approval(['ls'], terminal)
  await approval(['show', job], terminal)
  expect(terminal.outLines.find((line) => line.startsWith(job))).toMatch(/second-approver for 1[45]m/)
  expect(terminal.outLines.join('\n')).toMatch(/^on it {10}second-approver for 1[45]m/m)
  const decided = await api('POST', `/api/v1/approvals/${job}/approve`)
  expect(decided.body).toMatchObject({ state: 'DISPATCHED', resolution: { by: 'demo-approver' } })
  const records = await readJob(nats, job)
  expect(records.slice(0, 3).map(({ data }) => data.event)).toEqual(['parked', 'claimed', 'approved'])
  expect(records[1]?.data.state).toEqual({ from: 'PARKED', to: 'PARKED' })
})

test('while it lasts another is told who is on it; after a quarter of an hour anybody may be', async () => {
  const job = await park()
  const path = `/api/v1/approvals/${job}/claim`
  expect((await api('POST', path, { note: 'me' })).body).toMatchObject({
    claim: { by: 'demo-approver', via: 'http' },
  })
  const refused = await second(job, claim)
  expect(refused).toMatchObject({ status: 409, code: 'already_claimed', state: 'PARKED' })
  expect(refused.detail).toContain('demo-approver is on it until')
  expect((await api('POST', path)).body).toMatchObject({ status: 409, code: 'already_claimed' })
  skewMs = quarterHourMs
  expect(await second(job, claim)).toMatchObject({ claim: { by: 'second-approver' } })
  skewMs = 0
  expect((await readJob(nats, job)).map(({ data }) => data.event)).toEqual(['parked', 'claimed', 'claimed'])
})

test('of many who claim at once one does, and a decision in the middle of it stands', async () => {
  const job = await park()
  const [decided, ...claimed] = await Promise.all([
    second(job, { decision: 'reject', note: 'no' }),
    ...Array.from({ length: 10 }, () => api('POST', `/api/v1/approvals/${job}/claim`)),
  ])
  expect(decided).toMatchObject({ state: 'REJECTED' })
  expect(claimed.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1)
  expect(claimed.every(({ status }) => status === 200 || status === 409)).toBe(true)
  expect((await readJob(nats, job)).at(-1)?.data.event).toBe('rejected')
})

test('nobody claims what they could not decide, what is decided, or what never was', async () => {
  const theirs = await park('job.theirs.x')
  const from = async (job: string): Promise<unknown> =>
    (await api('POST', `/api/v1/approvals/${job}/claim`)).body
  expect(await from(theirs)).toMatchObject({ status: 403, code: 'not_an_approver' })
  await second(theirs, { decision: 'reject' })
  expect(await from(theirs)).toMatchObject({ status: 409, code: 'already_resolved' })
  expect(await from(`default.s${'0'.repeat(26)}`)).toMatchObject({ status: 404, code: 'not_found' })
})

test('the command says who is on it, and that somebody else is by its exit code', async () => {
  const job = await park()
  const terminal = testTerminal({ SLUICE_URL: gateway.httpUrl })
  expect(await approval(['claim', job, '--note', 'mine'], terminal)).toBe(0)
  expect(terminal.outLines).toEqual([`${job}  PARKED  demo-approver is on it`])
  expect(await approval(['claim', job, '-o', 'json'], terminal)).toBe(9)
  expect(JSON.parse(terminal.outLines.at(-1) ?? '')).toMatchObject({ code: 'already_claimed' })
  const theirs = await park('job.theirs.x')
  expect(await approval(['ls', '--mine', '-o', 'json'], terminal)).toBe(0)
  const { items } = JSON.parse(terminal.outLines.at(-1) ?? '') as { items: { job_id: string }[] }
  const ids = items.map(({ job_id }) => job_id)
  expect([ids.includes(job), ids.includes(theirs)]).toEqual([true, false])
  const limit = ['approve', job, '--constraints', '{"max_runtime_sec":5}', '-o', 'json']
  expect(await approval(limit, terminal)).toBe(0)
  expect(JSON.parse(terminal.outLines.at(-1) ?? '')).toMatchObject({
    resolution: { binding: 'client', constraints: { max_runtime_sec: 5 } },
  })
})
