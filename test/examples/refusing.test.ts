import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { headers, type MsgHdrs, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { ensureBuilt } from '../../cli/setup.mjs'
import { keyId, signTickets } from '../../audit/ticket.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { startExample, workerEnvironment, type Started } from '../helpers/example.ts'
import { ask, readJob, testConfig, until } from '../helpers/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'

let nats: TestNats
let gateway: Gateway
let dataDir: string
let workers: { helpdesk: Started; exec: Started }
/** Somebody with the gateway's password on the bus and without its key file. */
let thief: NatsConnection

beforeAll(async () => {
  await ensureBuilt()
  nats = await startTestNats()
  gateway = await startGateway(await testConfig(nats, await readFile('deploy/policy.yaml', 'utf8')))
  dataDir = await mkdtemp(join(tmpdir(), 'sluice-refusing-'))
  const start = (program: string, user: string): Started =>
    startExample(program, [], workerEnvironment(nats, user, dataDir, gateway.httpUrl))
  workers = { helpdesk: start('helpdesk-worker', 'helpdesk-1'), exec: start('exec-worker', 'exec-1') }
  await Promise.all([workers.helpdesk.said('helpdesk worker'), workers.exec.said('exec worker')])
  thief = await nats.connect('gateway')
})
afterAll(async () => {
  for (const { child } of Object.values(workers)) child.kill('SIGTERM')
  await Promise.all(Object.values(workers).map(({ ended }) => ended))
  await gateway.stop()
  await nats.stop()
  await rm(dataDir, { recursive: true, force: true })
})

type Dispatch = { readonly headers: Readonly<Record<string, string>>; readonly body: string }

/** A job that has run, as WORK keeps it. */
async function dispatched(topic: string, job: object): Promise<Dispatch> {
  const agent = await nats.connect('demo')
  const { job_id } = await ask(agent, topic, job)
  await until(async () => (await readJob(nats, job_id)).at(-1)?.data.terminal?.status === 'SUCCEEDED')
  const pool = topic.startsWith('job.agent.exec.') ? 'exec' : 'helpdesk'
  const subject = `gov.dispatch.${pool}.${topic.slice('job.'.length)}.${job_id}.1`
  const answer = await thief.request('$JS.API.STREAM.MSG.GET.WORK', JSON.stringify({ last_by_subj: subject }))
  const { message } = answer.json<{ message: { hdrs: string; data: string } }>()
  const lines = Buffer.from(message.hdrs, 'base64').toString().split('\r\n').slice(1)
  const pairs = lines.flatMap((line) =>
    line.startsWith('Sluice-') ? [line.split(/: (.*)/s).slice(0, 2)] : [],
  )
  return {
    headers: Object.fromEntries(pairs) as Record<string, string>,
    body: Buffer.from(message.data, 'base64').toString(),
  }
}

let counter = 100
/** Hands it to the pool as the server would; nothing of it is on record. */
async function hand(pool: string, { headers: values, body }: Dispatch): Promise<void> {
  const topic = (values['Sluice-Topic'] ?? 'job.x').slice('job.'.length)
  await thief.request(`gov.dispatch.${pool}.${topic}.${values['Sluice-Job'] ?? 'a.b'}.${counter++}`, body, {
    headers: headersOf(values),
    timeout: 5_000,
  })
}

function headersOf(values: Readonly<Record<string, string>>): MsgHdrs {
  const made = headers()
  for (const [name, value] of Object.entries(values)) made.set(name, value)
  return made
}

const changed = (dispatch: Dispatch, values: Record<string, string>): Dispatch => ({
  ...dispatch,
  headers: { ...dispatch.headers, ...values },
})

function forgedTicket({ headers: values }: Dispatch): string {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const of = (name: string): string => values[name] ?? ''
  const [ticket = ''] = signTickets(
    [
      {
        job: of('Sluice-Job'),
        topic: of('Sluice-Topic'),
        attempt: of('Sluice-Attempt'),
        decision: of('Sluice-Decision'),
        job_hash: of('Sluice-Job-Hash'),
        constraints_hash: of('Sluice-Constraints-Hash'),
        deadline: of('Sluice-Deadline'),
      },
    ],
    privateKey,
    keyId(publicKey),
  )
  return ticket
}

describe.each([
  ['core', 'helpdesk', 'job.mcp-bridge.read.get_ticket', {}],
  ['pull', 'exec', 'job.agent.exec.date', { risk_tags: ['medium'] }],
] as const)('a worker of a %s pool', (_delivery, pool, topic, job) => {
  let one: Dispatch
  let other: Dispatch
  let refusals = ''
  beforeAll(async () => {
    one = await dispatched(topic, job)
    other = await dispatched(topic, job)
  })

  const cases: [string, () => Dispatch, string][] = [
    ['what it has done before', () => one, 'replayed'],
    ['another payload', () => ({ ...one, body: '{"payload":{"id":"T-2"}}' }), 'altered-body'],
    [
      'wider limits',
      () => changed(one, { 'Sluice-Constraints': '{"max_runtime_sec":9000}' }),
      'altered-constraints',
    ],
    [
      'a later deadline',
      () => changed(one, { 'Sluice-Deadline': '2099-01-01T00:00:00.000Z' }),
      'bad-signature',
    ],
    ['another attempt', () => changed(one, { 'Sluice-Attempt': '2' }), 'bad-signature'],
    ['another topic', () => changed(one, { 'Sluice-Topic': `${topic}x` }), 'bad-signature'],
    [
      "another job's ticket",
      () => changed(one, { 'Sluice-Ticket': other.headers['Sluice-Ticket'] ?? '' }),
      'bad-signature',
    ],
    ['a ticket of its own making', () => changed(one, { 'Sluice-Ticket': forgedTicket(one) }), 'unknown-key'],
    ['no ticket', () => changed(one, { 'Sluice-Ticket': '' }), 'malformed-ticket'],
    ['a plain message', () => ({ headers: { 'Sluice-Job': 'default.x' }, body: '{}' }), 'missing-header'],
  ]
  test.each(cases)('refuses %s', async (_what, made, why) => {
    const dispatch = made()
    await hand(pool, dispatch)
    // All of them, in order: the same words may have been said about another one before.
    refusals += `${dispatch.headers['Sluice-Job']} refused: ${why}\n`
    await workers[pool].said(refusals)
  })

  test('and says nothing about it on the bus, and goes on', async () => {
    expect((await dispatched(topic, job)).headers['Sluice-Attempt']).toBe('1')
    const records = await readJob(nats, one.headers['Sluice-Job'] ?? '')
    expect(records.map(({ data }) => data.event)).toEqual(['allowed', 'succeeded'])
    const metrics = await (await fetch(`${gateway.httpUrl}/metrics`)).text()
    expect(metrics).toContain('sluice_bypass_attempts_total 0')
  })
})
