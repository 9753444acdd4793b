import { afterAll, beforeAll, expect, test } from 'vitest'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import type { NatsConnection } from '@nats-io/transport-node'
import type { Approval } from '../../audit/event.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { ask, readJob, testApprovals, testConfig } from '../helpers/gateway.ts'

const policy = `version: v1
rules:
  - { id: high, match: { topics: ["job.high.*"] }, decision: require_approval, approval: { level: high } }
  - { id: critical, match: { topics: ["job.critical.*"] }, decision: require_approval, approval: { level: critical } }
  - id: early
    match: { topics: ["job.early.*"] }
    decision: require_approval
    approval: { wait_at_least: 10m }
`

let nats: TestNats
/** One that takes a decision without a hash, and one that does not. */
let lenient: Gateway
let strict: Gateway
let agent: NatsConnection
const people = new Map<string, NatsConnection>()

beforeAll(async () => {
  nats = await startTestNats()
  const topologyFile = join(await mkdtemp(join(tmpdir(), 'sluice-topology-')), 'topology.yaml')
  await writeFile(topologyFile, await readFile('deploy/topology.yaml', 'utf8'))
  const config = await testConfig(nats, policy, { topologyFile })
  lenient = await startGateway(config)
  strict = await startGateway({
    ...config,
    gateway: 'strict',
    approvals: { ...testApprovals, requireBinding: true },
  })
  agent = await nats.connect('demo')
  for (const name of ['demo-approver', 'second-approver']) people.set(name, await nats.connect(name))
})
afterAll(async () => {
  await Promise.all([lenient.stop(), strict.stop()])
  await nats.stop()
})

type Answered = {
  status?: number
  code?: string
  state?: string
  detail?: string
  approve_from?: string
  resolution?: { by: string; binding: string }
}

async function post(gateway: Gateway, job: string, verb: string, wish: object): Promise<Answered> {
  const response = await fetch(`${gateway.httpUrl}/api/v1/approvals/${job}/${verb}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(wish),
  })
  return (await response.json()) as Answered
}

/** Both doors say the same; this one knows who asks. */
async function resolve(by: string, job: string, wish: object): Promise<Answered> {
  const person = people.get(by)
  if (person === undefined) throw new Error(`nobody is called ${by}`)
  return (await person.request(`approvals.resolve.${by}.${job}`, JSON.stringify(wish))).json()
}

const waiting = async (job: string): Promise<Approval | undefined> => {
  const newest = (await readJob(nats, job)).at(-1)?.data
  expect(newest?.state.to).toBe('PARKED')
  return newest?.approval
}

test('where the configuration asks for it, a decision without a hash is refused either way, and one with it counts', async () => {
  const { job_id, job_hash } = await ask(agent, 'job.high.x', {})
  for (const verb of ['approve', 'reject'])
    expect(await post(strict, job_id, verb, { note: 'blindly' })).toMatchObject({
      status: 428,
      code: 'binding_required',
      state: 'PARKED',
    })
  expect(await post(strict, job_id, 'approve', { note: 'seen', job_hash })).toMatchObject({
    state: 'DISPATCHED',
  })
  const blind = await ask(agent, 'job.high.x', {})
  const answer = await post(lenient, blind.job_id, 'reject', {})
  expect(answer).toMatchObject({ state: 'REJECTED', resolution: { binding: 'server' } })
})

test('at level high an approval needs a note that says something, and a rejection needs none', async () => {
  const { job_id, job_hash } = await ask(agent, 'job.high.x', {})
  for (const note of ['', ' \n'])
    expect(await post(strict, job_id, 'approve', { note, job_hash })).toMatchObject({
      status: 422,
      code: 'note_required',
    })
  expect(await post(strict, job_id, 'reject', { job_hash })).toMatchObject({ state: 'REJECTED' })
})

test('at level critical it takes a note, both hashes and two persons, although the rule asks for one', async () => {
  const { job_id, job_hash, decision } = await ask(agent, 'job.critical.x', {})
  const whole = { decision: 'approve', note: 'checked', job_hash, policy_snapshot: decision.policy_snapshot }
  for (const missing of ['job_hash', 'policy_snapshot'] as const) {
    const { [missing]: _gone, ...rest } = whole
    expect(await resolve('demo-approver', job_id, rest)).toMatchObject({
      status: 428,
      code: 'binding_required',
    })
  }
  expect(await resolve('demo-approver', job_id, { ...whole, note: '' })).toMatchObject({
    code: 'note_required',
  })
  expect(await resolve('demo-approver', job_id, whole)).toMatchObject({ state: 'PARKED' })
  expect(await resolve('demo-approver', job_id, whole)).toMatchObject({ code: 'already_voted' })
  expect((await waiting(job_id))?.votes).toHaveLength(1)
  expect(await resolve('second-approver', job_id, whole)).toMatchObject({ state: 'DISPATCHED' })
})

test('an approval before its time is refused and told from when on, a rejection is not', async () => {
  const { job_id, job_hash } = await ask(agent, 'job.early.x', {})
  const asked = await waiting(job_id)
  const from = new Date(Date.parse(asked?.requested_at ?? '') + 600_000).toISOString()
  const early = await resolve('demo-approver', job_id, { decision: 'approve', job_hash })
  expect(early).toMatchObject({ status: 409, code: 'too_early', state: 'PARKED', approve_from: from })
  expect(early.detail).toContain(from)
  expect(await resolve('demo-approver', job_id, { decision: 'reject', job_hash })).toMatchObject({
    state: 'REJECTED',
  })
})

test('the level is on the record, on the item and on the copy that approvers pull', async () => {
  const { job_id } = await ask(agent, 'job.critical.y', {})
  expect(await waiting(job_id)).toMatchObject({ level: 'critical' })
  const item = await fetch(`${lenient.httpUrl}/api/v1/approvals/${job_id}`)
  expect(await item.json()).toMatchObject({ level: 'critical' })
  const approver = await nats.connect('demo-approver')
  const seen: (string | undefined)[] = []
  approver.subscribe('_INBOX_demo-approver.levels', {
    callback: (_error, { headers }) => {
      if (headers?.get('Sluice-Job') === job_id) seen.push(headers.get('Sluice-Level'))
    },
  })
  approver.publish('gov.API.CONSUMER.MSG.NEXT.APPROVALS.approvers', '{"batch":100,"expires":5000000000}', {
    reply: '_INBOX_demo-approver.levels',
  })
  await expect.poll(() => seen, { timeout: 10_000 }).toEqual(['critical'])
})
