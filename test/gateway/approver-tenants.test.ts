import { afterAll, beforeAll, expect, test } from 'vitest'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import type { NatsConnection } from '@nats-io/transport-node'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { demoNatsConf, natsConf } from '../../gateway/nats/conf.ts'
import { parseTopology } from '../../gateway/config/topology.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { ask, readAudit, readJob, testConfig } from '../helpers/gateway.ts'

const policy = `version: v1
rules:
  - { id: ask, match: {}, decision: require_approval }
`
const limited = 'demo-approver'

let nats: TestNats
let gateway: Gateway
let approver: NatsConnection
let other: NatsConnection
let ours: string
let theirs: string

beforeAll(async () => {
  const topologyFile = join(await mkdtemp(join(tmpdir(), 'sluice-topology-')), 'topology.yaml')
  const text = (await readFile('deploy/topology.yaml', 'utf8')).replace(
    'approvers: [demo-approver, second-approver]',
    'approvers: [{ name: demo-approver, tenants: [acme] }, second-approver]',
  )
  await writeFile(topologyFile, text)
  const topology = parseTopology(topologyFile, text)
  if (!topology.ok) throw new Error(JSON.stringify(topology.problems))
  nats = await startTestNats({
    topology: topology.value,
    conf: () => natsConf(topology.value, demoNatsConf),
  })
  gateway = await startGateway(await testConfig(nats, policy, { topologyFile }))
  ;[approver, other] = await Promise.all([nats.connect(limited), nats.connect('second-approver')])
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

type Said = { status?: number; code?: string; detail?: string; state?: string }
const byNats = async (person: NatsConnection, name: string, job: string): Promise<Said> =>
  (await person.request(`approvals.resolve.${name}.${job}`, '{"decision":"approve"}')).json<Said>()
const byHttp = async (job: string): Promise<Said> =>
  (
    await fetch(`${gateway.httpUrl}/api/v1/approvals/${job}/approve`, { method: 'POST' })
  ).json() as Promise<Said>

test('who decides for one tenant hears of no other, live or from the queue', async () => {
  const notices: string[] = []
  approver.subscribe('approvals.notify.*.acme.*', {
    callback: (_error, { subject }) => void notices.push(subject),
  })
  const all: string[] = []
  other.subscribe('approvals.notify.>', { callback: (_error, { subject }) => void all.push(subject) })
  await Promise.all([approver.flush(), other.flush()])
  const bot = await nats.connect('billing-bot')
  theirs = (await ask(await nats.connect('demo'), 'job.some.thing', { payload: 1 })).job_id
  ours = (await ask(bot, 'job.billing-bot.some.thing', { payload: 2 })).job_id
  await expect.poll(() => all.map((subject) => subject.split('.').slice(3).join('.'))).toEqual([theirs, ours])
  await expect.poll(() => notices).toEqual([`approvals.notify.parked.${ours}`])

  const pulled: (string | undefined)[] = []
  approver.subscribe('_INBOX_demo-approver.pulled', {
    callback: (_error, { headers }) => void pulled.push(headers?.get('Sluice-Job')),
  })
  approver.publish('gov.API.CONSUMER.MSG.NEXT.APPROVALS.approvers-acme', '{"batch":9,"expires":9000000000}', {
    reply: '_INBOX_demo-approver.pulled',
  })
  await expect.poll(() => pulled).toEqual([ours])
})

test.each(['gov.API.CONSUMER.MSG.NEXT.APPROVALS.approvers', 'gov.API.CONSUMER.INFO.APPROVALS.approvers'])(
  'the server refuses them %s',
  async (subject) => {
    const person = await nats.connect(limited)
    await expect(person.request(subject, '{"batch":1}', { timeout: 5_000 })).rejects.toThrow(/ermission/)
  },
)

test('the server refuses them the notices of all', async () => {
  const person = await nats.connect(limited)
  const refused = await new Promise<Error | null>((resolve) => {
    person.subscribe('approvals.notify.>', { callback: (error) => resolve(error) })
  })
  expect(refused?.message).toMatch(/ermission/)
})

test('another tenant’s job is answered like one that never was, by NATS and by HTTP, and that it was tried is on record', async () => {
  const never = `default.m${'0'.repeat(32)}`
  const unknown = await byNats(approver, limited, never)
  expect(unknown).toMatchObject({ status: 404, code: 'not_found' })
  expect(await byNats(approver, limited, theirs)).toEqual(unknown)
  expect(await byHttp(theirs)).toEqual(await byHttp(never))
  expect((await readJob(nats, theirs)).map(({ data }) => data.event)).toEqual(['parked'])
  const beside = (await readAudit(nats)).filter(({ subject }) => subject === `audit._refused.${theirs}`)
  expect(beside).toHaveLength(2)
  expect(await byNats(approver, limited, ours)).toMatchObject({ state: 'DISPATCHED' })
  expect(await byNats(other, 'second-approver', theirs)).toMatchObject({ state: 'DISPATCHED' })
})
