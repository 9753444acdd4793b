import { afterAll, beforeAll, expect, test } from 'vitest'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import type { NatsConnection } from '@nats-io/transport-node'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { ask, coreWorker, readJob, testConfig, until } from '../helpers/gateway.ts'

const policy = `version: v1
rules:
  - id: two-of-ops
    match: { topics: ["job.two.*"] }
    decision: require_approval
    approval:
      thresholds: [{ from: { groups: [ops] }, approve: 2, deny: 1 }]
  - id: admin-only
    match: { topics: ["job.admin.*"] }
    decision: require_approval
    approval:
      thresholds: [{ from: { roles: [admin] }, approve: 1 }]
  - id: limits
    match: { topics: ["job.two.*"] }
    decision: allow_with_constraints
    constraints: { max_runtime_sec: 60, allow_hosts: [a.internal, b.internal] }
  - id: kept-cards
    match: { topics: ["job.card.*"] }
    decision: allow
    output: { quarantine: [payment-card] }
`

let nats: TestNats
let gateway: Gateway
let agent: NatsConnection
const people = new Map<string, NatsConnection>()

beforeAll(async () => {
  nats = await startTestNats()
  const topologyFile = join(await mkdtemp(join(tmpdir(), 'sluice-topology-')), 'topology.yaml')
  const demo = await readFile('deploy/topology.yaml', 'utf8')
  await writeFile(
    topologyFile,
    `${demo}\ngroups: { ops: [demo-approver, second-approver] }\nroles: { admin: [second-approver] }\n`,
  )
  gateway = await startGateway(await testConfig(nats, policy, { topologyFile }))
  agent = await nats.connect('demo')
  const card = ['4111', '1111', '1111', '1111'].join('')
  await coreWorker(nats, 'helpdesk-1', (job) => ({
    body: job.subject.includes('.card.') ? `{"card":"${card}"}` : '{}',
  }))
  for (const name of ['demo-approver', 'second-approver']) people.set(name, await nats.connect(name))
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

type Answered = { status?: number; code?: string; state?: string; resolution?: { by: string } }
async function resolve(by: string, job: string, wish: object): Promise<Answered> {
  const person = people.get(by)
  if (person === undefined) throw new Error(`nobody is called ${by}`)
  return (
    await person.request(`approvals.resolve.${by}.${job}`, JSON.stringify({ note: '', ...wish }))
  ).json()
}

test('one vote of two leaves the job parked on record; the same person counts once; the second releases it', async () => {
  const { job_id } = await ask(agent, 'job.two.x', {})
  expect(await resolve('demo-approver', job_id, { decision: 'approve' })).toMatchObject({
    state: 'PARKED',
    resolution: { by: 'demo-approver' },
  })
  expect(await resolve('demo-approver', job_id, { decision: 'approve' })).toMatchObject({
    status: 409,
    code: 'already_voted',
  })
  expect(await resolve('second-approver', job_id, { decision: 'approve' })).toMatchObject({
    state: 'DISPATCHED',
  })
  const records = await readJob(nats, job_id)
  expect(records.slice(0, 3).map(({ data }) => data.event)).toEqual(['parked', 'voted', 'approved'])
  expect(records[2]?.data.approval?.votes.map(({ by }) => by)).toEqual(['demo-approver', 'second-approver'])
})

test('one refusal is enough where the threshold says so', async () => {
  const { job_id } = await ask(agent, 'job.two.x', {})
  expect(await resolve('demo-approver', job_id, { decision: 'approve' })).toMatchObject({ state: 'PARKED' })
  expect(await resolve('second-approver', job_id, { decision: 'reject' })).toMatchObject({
    state: 'REJECTED',
  })
})

test('who is in none of the thresholds has no say', async () => {
  const { job_id } = await ask(agent, 'job.admin.x', {})
  expect(await resolve('demo-approver', job_id, { decision: 'approve' })).toMatchObject({
    status: 403,
    code: 'not_an_approver',
  })
  expect(await resolve('second-approver', job_id, { decision: 'approve' })).toMatchObject({
    state: 'DISPATCHED',
  })
})

test('an approver may narrow the limits and never widen them', async () => {
  const { job_id } = await ask(agent, 'job.two.x', {})
  const wide = { decision: 'approve', constraints: { max_runtime_sec: 600 } }
  expect(await resolve('demo-approver', job_id, wide)).toMatchObject({
    status: 409,
    code: 'constraints_widen',
  })
  const others = { decision: 'approve', constraints: { allow_hosts: ['c.internal'] } }
  expect(await resolve('demo-approver', job_id, others)).toMatchObject({
    status: 409,
    code: 'constraints_widen',
  })
  const narrow = { decision: 'approve', constraints: { max_runtime_sec: 5, allow_hosts: ['a.internal'] } }
  expect(await resolve('demo-approver', job_id, narrow)).toMatchObject({ state: 'PARKED' })
  expect(await resolve('second-approver', job_id, { decision: 'approve' })).toMatchObject({
    state: 'DISPATCHED',
  })
  const approved = (await readJob(nats, job_id)).find(({ data }) => data.event === 'approved')
  expect(approved?.data.decision.constraints).toEqual({ max_runtime_sec: 5, allow_hosts: ['a.internal'] })
})

test('a rule that wants cards kept back has the whole output quarantined', async () => {
  const { job_id } = await ask(agent, 'job.card.x', {})
  const records = await until(async () => {
    const found = await readJob(nats, job_id)
    return found.length === 2 && found
  })
  expect(records[1]?.data).toMatchObject({ event: 'quarantined', result: { action: 'quarantine' } })
})
