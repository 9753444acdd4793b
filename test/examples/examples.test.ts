import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { ensureBuilt } from '../../cli/setup.mjs'
import type { AuditRecord } from '../../audit/record.ts'
import type { TicketFile } from '../../examples/tickets.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { clientEnvironment, startExample, workerEnvironment, type Started } from '../helpers/example.ts'
import { ask, readAudit, readJob, testConfig, until } from '../helpers/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'

let nats: TestNats
let gateway: Gateway
let agent: NatsConnection
let dataDir: string
let helpdesk: Started
let exec: Started

beforeAll(async () => {
  await ensureBuilt()
  nats = await startTestNats()
  gateway = await startGateway(await testConfig(nats, await readFile('deploy/policy.yaml', 'utf8')))
  agent = await nats.connect('demo')
  dataDir = await mkdtemp(join(tmpdir(), 'sluice-examples-'))
  helpdesk = startExample(
    'helpdesk-worker',
    [],
    workerEnvironment(nats, 'helpdesk-1', dataDir, gateway.httpUrl),
  )
  exec = startExample('exec-worker', [], workerEnvironment(nats, 'exec-1', dataDir, gateway.httpUrl))
  await Promise.all([helpdesk.said('helpdesk worker helpdesk-1'), exec.said('exec worker exec-1')])
})
afterAll(async () => {
  for (const { child } of [helpdesk, exec]) child.kill('SIGTERM')
  await Promise.all([helpdesk.ended, exec.ended])
  await gateway.stop()
  await nats.stop()
  await rm(dataDir, { recursive: true, force: true })
})

const ended = (job: string): Promise<AuditRecord> =>
  until(async () => (await readJob(nats, job)).find(({ data }) => data.terminal !== undefined))

async function outputOf(topic: string, body: unknown): Promise<unknown> {
  const heard = new Map<string, string>()
  const subscription = agent.subscribe('output.>', {
    callback: (_error, message) => void heard.set(message.headers?.get('Sluice-Job') ?? '', message.string()),
  })
  await agent.flush()
  const { job_id } = await ask(agent, topic, body)
  const output = await until(() => heard.get(job_id))
  subscription.unsubscribe()
  return JSON.parse(output)
}

const tickets = async (): Promise<TicketFile> =>
  JSON.parse(await readFile(join(dataDir, 'tickets.json'), 'utf8')) as TicketFile

test('the helpdesk worker reads its tickets', async () => {
  expect(await outputOf('job.mcp-bridge.read.list_tickets', {})).toHaveLength(3)
  expect(await outputOf('job.mcp-bridge.read.get_ticket', { payload: { id: 'T-2' } })).toMatchObject({
    id: 'T-2',
  })
})

test.each(['T-99', '__proto__', 'constructor'])(
  'ticket %s, which does not exist, is a failure',
  async (id) => {
    const { job_id } = await ask(agent, 'job.mcp-bridge.read.get_ticket', { payload: { id } })
    expect((await ended(job_id)).data).toMatchObject({ state: { to: 'FAILED' }, result: { status: 'error' } })
  },
)

test('an action that the helpdesk does not know is a failure', async () => {
  const { job_id } = await ask(agent, 'job.mcp-bridge.read.horoscope', {})
  expect((await ended(job_id)).data.state.to).toBe('FAILED')
})

test('the exec worker really runs a command of its list and says which limits it got', async () => {
  expect(await outputOf('job.agent.exec.uname', { risk_tags: ['medium'] })).toMatchObject({
    command: 'uname -a',
    exit_code: 0,
    stdout: expect.stringContaining('Linux') as string,
    limits: { max_runtime_sec: 45, max_retries: 1 },
  })
})

test('a command outside the list is not run, whatever its name', async () => {
  for (const name of ['rm', 'constructor', 'sh']) {
    const { job_id } = await ask(agent, `job.agent.exec.${name}`, { risk_tags: ['medium'] })
    expect((await ended(job_id)).data.state.to).toBe('FAILED')
  }
})

test('a command that fails is tried once more, because the rule grants one retry', async () => {
  const { job_id } = await ask(agent, 'job.agent.exec.fail', { risk_tags: ['medium'] })
  expect((await ended(job_id)).data).toMatchObject({ state: { to: 'FAILED' }, dispatch: { attempt: 2 } })
})

test('a command is ended at its deadline, and what the worker says afterwards is refused on record', async () => {
  const deadline = new Date(Date.now() + 1_500).toISOString()
  const job = { risk_tags: ['medium'], deadline, payload: { seconds: 30 } }
  const { job_id } = await ask(agent, 'job.agent.exec.sleep', job)
  expect((await ended(job_id)).data.state.to).toBe('TIMED_OUT')
  const refused = await until(async () =>
    (await readAudit(nats)).find(({ subject }) => subject === `audit._refused.${job_id}`),
  )
  expect(refused.record.data).toMatchObject({ refuse: 'late-result' })
})

test('a cancelled command ends at once, and its hand is free again', async () => {
  const job = { risk_tags: ['medium'], payload: { seconds: 600 } }
  const running = await Promise.all(Array.from({ length: 4 }, () => ask(agent, 'job.agent.exec.sleep', job)))
  const gone = await fetch(`${gateway.httpUrl}/api/v1/jobs/${running[0]?.job_id}/cancel`, { method: 'POST' })
  expect(gone.status).toBe(200)
  expect(await outputOf('job.agent.exec.date', { risk_tags: ['medium'] })).toMatchObject({ exit_code: 0 })
  for (const { job_id } of running.slice(1))
    await fetch(`${gateway.httpUrl}/api/v1/jobs/${job_id}/cancel`, { method: 'POST' })
})

test('an agent and an approver: the card shows what would run, the approval lets it run, the file changes', async () => {
  const topic = 'job.mcp-bridge.write.add_comment'
  const job = '{"risk_tags":["prod"],"payload":{"id":"T-1","comment":"fixed"}}'
  const submitted = startExample('agent', [topic, job], clientEnvironment(nats, 'demo'))
  await submitted.said('is PARKED; what to do now: wait')
  const approver = startExample(
    'approver',
    ['approve', 'a good fix'],
    clientEnvironment(nats, 'demo-approver'),
  )
  expect(await approver.ended).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(`${topic} ${job}`) as string,
  })
  const done = await submitted.ended
  expect(done).toMatchObject({ code: 0, stdout: expect.stringContaining('is SUCCEEDED') as string })
  expect((await tickets()).tickets['T-1']?.comments).toEqual(['fixed'])
})

test('a rejected job ends its agent with the rejection and changes nothing', async () => {
  const before = await tickets()
  const topic = 'job.mcp-bridge.write.close_ticket'
  const submitted = startExample('agent', [topic, '{"risk_tags":["prod"]}'], clientEnvironment(nats, 'demo'))
  await submitted.said('is PARKED')
  const approver = startExample('approver', ['reject'], clientEnvironment(nats, 'second-approver'))
  expect(await approver.ended).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('is REJECTED') as string,
  })
  expect(await submitted.ended).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('is REJECTED') as string,
  })
  expect(await tickets()).toEqual(before)
})

test('an approver with an empty queue is told so', async () => {
  const approver = startExample('approver', [], clientEnvironment(nats, 'demo-approver'))
  expect(await approver.ended).toMatchObject({ code: 0, stdout: 'nothing waits for an approval\n' })
})

test('a worker that is asked to stop ends by itself with code 0', async () => {
  const {
    child,
    ended: over,
    said,
  } = startExample('helpdesk-worker', [], workerEnvironment(nats, 'helpdesk-2', dataDir, gateway.httpUrl))
  await said('helpdesk worker helpdesk-2')
  child.kill('SIGTERM')
  expect((await over).code).toBe(0)
})

test('a worker without its settings says which one is missing', async () => {
  const { ended: over } = startExample('helpdesk-worker', [], {})
  expect(await over).toMatchObject({ code: 1, stderr: expect.stringContaining('SLUICE_WORKER_') as string })
})
