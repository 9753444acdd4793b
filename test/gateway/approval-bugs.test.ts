import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { headers, type Msg, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { withOwner } from '../../cli/drill/scene-care.ts'
import { connectBus, type Bus } from '../../gateway/bus/bus.ts'
import { BusError } from '../../gateway/bus/message.ts'
import type { Config } from '../../gateway/config/config.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { pendingSubject } from '../../gateway/subjects.ts'
import type { JobId } from '../../policy/job-id.ts'
import { leftOver, shortenAckWait } from '../crash/streams.ts'
import { apiOf, type ApiCall } from '../helpers/api.ts'
import { approverOn, type Resolve } from '../helpers/approver.ts'
import { ask, coreWorker, readAudit, readJob, testConfig, until, type Asked } from '../helpers/gateway.ts'
import { asOwner, startTestNats, type TestNats } from '../helpers/nats-server.ts'

/** More than a record has room for. */
const paths = Array.from({ length: 400 }, (_, n) => `/${n}/${'x'.repeat(80)}`)
const policy = `version: v1
rules:
  - id: huge
    match: { topics: ["job.huge.*"] }
    decision: allow_with_constraints
    constraints: { deny_paths: [${paths.join(', ')}] }
  - { id: ask, match: { topics: ["job.ask.*"] }, decision: require_approval }
  - { id: soon, match: { topics: ["job.soon.*"] }, decision: require_approval, approval: { expires_in: 1s } }
`

let nats: TestNats
let config: Config
let gateways: Gateway[]
let apis: ApiCall[]
let agent: NatsConnection
let first: Resolve
let second: Resolve
let received: readonly Msg[]

beforeAll(async () => {
  nats = await startTestNats({ owner: 'stays' })
  config = await testConfig(nats, policy)
  const topologyFile = join(dirname(config.policyFile), 'topology.yaml')
  await writeFile(topologyFile, withOwner(await readFile(config.topologyFile, 'utf8')))
  config = { ...config, topologyFile }
  gateways = await Promise.all(
    ['one', 'two'].map((gateway) => startGateway({ ...config, gateway }, { bus: deadForTheDoomed })),
  )
  apis = gateways.map(({ httpUrl }) => apiOf(httpUrl))
  agent = await nats.connect('demo')
  first = await approverOn(nats, 'demo-approver')
  second = await approverOn(nats, 'second-approver')
  received = (
    await coreWorker(nats, 'helpdesk-1', ({ subject }) => ({
      body: '{}',
      status: subject.includes('.ask.fails.') ? 'error' : 'ok',
    }))
  ).seen
})
afterAll(async () => {
  await Promise.all(gateways.map((gateway) => gateway.stop()))
  await nats.stop()
})

/** Between the record that approves a doomed job and its dispatch, these gateways are gone. */
function deadForTheDoomed(bus: Bus): Bus {
  const dead = (subject: string): boolean => subject.startsWith('gov.dispatch.helpdesk.ask.doomed.')
  return {
    ...bus,
    append: (subject, body, options) =>
      dead(subject) ? Promise.reject(new BusError('dead')) : bus.append(subject, body, options),
  }
}

const park = (topic = 'job.ask.x', body: object = {}): Promise<Asked> => ask(agent, topic, body, randomUUID())
const runs = (job: string): number =>
  received.filter((message) => message.headers?.get('Sluice-Job') === job).length
const ended = (job: string): Promise<string[]> =>
  until(async () => {
    const records = await readJob(nats, job)
    return records.at(-1)?.data.terminal !== undefined && records.map(({ data }) => data.event)
  })
const stateOf = async (job: string): Promise<unknown> =>
  (await (apis[0] as ApiCall)('GET', `/api/v1/jobs/${job}`)).body['state']

describe('what went wrong elsewhere', () => {
  test('what has no room on a record is refused or denied once, and tried no second time', async () => {
    const denied = await ask(agent, 'job.huge.x', {})
    expect(denied).toMatchObject({ state: 'DENIED', decision: { rule_id: 'sluice.error' } })
    const { job_id } = await park()
    const wide = paths.slice(0, 60).map((path) => path.padEnd(900, 'x'))
    const wordy = await first(job_id, { constraints: { deny_paths: wide } })
    expect(wordy).toMatchObject({ status: 413, code: 'too_large', state: 'PARKED' })
    const api = await asOwner(nats)
    await until(async () => Object.keys(await leftOver(api, /^(JOBS_|COMMANDS$)/)).length === 0)
    expect((await first(job_id, { note: 'in short' })).state).toBe('DISPATCHED')
    expect(await ended(job_id)).toEqual(['parked', 'approved', 'succeeded'])
  })

  test('a double click on approve is one approval and one dispatch', async () => {
    const [api] = apis as [ApiCall]
    const { job_id } = await park()
    const clicks = await Promise.all([1, 2].map(() => api('POST', `/api/v1/approvals/${job_id}/approve`)))
    expect(clicks.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 409])
    expect(await ended(job_id)).toEqual(['parked', 'approved', 'succeeded'])
    expect(runs(job_id)).toBe(1)
  })

  test('approved at two gateways at once, one wins and the other names the winner', async () => {
    const { job_id } = await park()
    const answers = await Promise.all(
      apis.map((api, index) => api('POST', `/api/v1/approvals/${job_id}/approve`, { note: `at ${index}` })),
    )
    const [won, lost] = answers.toSorted((a, b) => a.status - b.status)
    expect(won?.status).toBe(200)
    expect(lost?.body).toMatchObject({
      status: 409,
      code: 'already_resolved',
      resolution: won?.body['resolution'],
    })
    expect(lost?.body['detail']).toContain('demo-approver was first')
    expect(await ended(job_id)).toEqual(['parked', 'approved', 'succeeded'])
  })

  test('an approval that comes after its time is 410, on HTTP as on NATS, and the job never runs', async () => {
    const [api] = apis as [ApiCall]
    const { job_id } = await park('job.soon.x')
    expect(await ended(job_id)).toEqual(['parked', 'expired'])
    expect((await readJob(nats, job_id)).at(-1)?.data).toMatchObject({
      limit: 'approval',
      terminal: { status: 'EXPIRED' },
    })
    expect(await first(job_id)).toMatchObject({ status: 410, code: 'expired' })
    const late = await api('POST', `/api/v1/approvals/${job_id}/approve`)
    expect([late.status, late.body['code']]).toEqual([410, 'expired'])
    expect(runs(job_id)).toBe(0)
  })

  test('an agent that asks again while its job waits gets the same approval', async () => {
    const asked = await ask(agent, 'job.ask.x', { payload: 1 }, 'again')
    const again = await until(async () => {
      const found = await ask(agent, 'job.ask.x', { payload: 1 }, 'again')
      return found.error === undefined && found
    })
    expect(again).toMatchObject({ job_id: asked.job_id, state: 'PARKED', duplicate: true })
    expect(again.approval).toEqual(asked.approval)
    expect(await readJob(nats, asked.job_id)).toHaveLength(1)
    await first(asked.job_id, { decision: 'reject' })
  })

  test('an agent that asks again just as it is approved is told how it stands, with the same bytes and only once', async () => {
    const { job_id } = await ask(agent, 'job.ask.x', { payload: 2 }, 'just-then')
    const [approved] = await Promise.all([
      first(job_id),
      ask(agent, 'job.ask.x', { payload: 2 }, 'just-then').catch(() => undefined),
    ])
    expect(approved.state).toBe('DISPATCHED')
    expect(await ended(job_id)).toEqual(['parked', 'approved', 'succeeded'])
    const after = await until(async () => {
      const found = await ask(agent, 'job.ask.x', { payload: 2 }, 'just-then')
      return found.error === undefined && found
    })
    expect(after).toMatchObject({ job_id, state: 'SUCCEEDED', duplicate: true })
    expect(runs(job_id)).toBe(1)
  })

  test('approved, and the worker fails: the job is FAILED, whatever was approved', async () => {
    const fails = await ask(agent, 'job.ask.fails', {}, randomUUID())
    expect(await first(fails.job_id)).toMatchObject({ state: 'DISPATCHED' })
    expect(await ended(fails.job_id)).toEqual(['parked', 'approved', 'failed'])
    expect(await stateOf(fails.job_id)).toBe('FAILED')
  })

  test('an approval of another body is 409: the bytes that wait are the ones that run', async () => {
    const seen = await park('job.ask.x', { payload: { amount: 1 } })
    const other = await park('job.ask.x', { payload: { amount: 82_000 } })
    expect(await first(other.job_id, { job_hash: seen.job_hash })).toMatchObject({
      status: 409,
      code: 'stale_binding',
      state: 'PARKED',
    })
    expect((await readJob(nats, other.job_id)).map(({ data }) => data.event)).toEqual(['parked'])
    const beside = (await readAudit(nats)).filter(
      ({ subject }) => subject === `audit._refused.${other.job_id}`,
    )
    expect(beside).toHaveLength(1)
  })

  test('the owner of an agent is the requester of its jobs: 403, and the job waits for somebody else', async () => {
    const bot = await nats.connect('billing-bot')
    const { job_id } = await ask(bot, 'job.billing-bot.ask.x', {})
    expect(await second(job_id)).toMatchObject({ status: 403, code: 'self_approval', state: 'PARKED' })
    expect(await first(job_id)).toMatchObject({ state: 'DISPATCHED' })
  })

  test('a scanner that opens every link of a message decides nothing', async () => {
    const [api] = apis as [ApiCall]
    const { job_id } = await park()
    for (const verb of ['approve', 'reject', 'claim'])
      for (const method of ['GET', 'HEAD', 'OPTIONS']) {
        const { status } = await api(method, `/api/v1/approvals/${job_id}/${verb}?note=prefetched`)
        expect(status).toBeGreaterThanOrEqual(400)
      }
    expect(await stateOf(job_id)).toBe('PARKED')
    expect(await readJob(nats, job_id)).toHaveLength(1)
  })
})

describe('what somebody may try', () => {
  test('a parked payload that was swapped under the approver is not run, and the job ends on record', async () => {
    const { job_id } = await park('job.ask.x', { payload: { id: 'T-1' } })
    const bus = await asGateway()
    const subject = pendingSubject(job_id as JobId)
    const copy = await bus.last('APPROVALS', subject)
    await bus.remove('APPROVALS', copy?.sequence ?? 0)
    await bus.append(subject, '{"payload":{"id":"T-666"}}', { expect: 0 })
    await bus.close()
    await first(job_id)
    expect(await ended(job_id)).toEqual(['parked', 'approved', 'failed'])
    expect((await readJob(nats, job_id)).at(-1)?.data.limit).toBe('payload-altered')
    expect(runs(job_id)).toBe(0)
  })

  test('the same resolution sent again, word for word, is refused and runs nothing', async () => {
    const { job_id, job_hash } = await park()
    const words = { job_hash, note: 'once' }
    expect(await first(job_id, words)).toMatchObject({ state: 'DISPATCHED' })
    expect(await first(job_id, words)).toMatchObject({ status: 409, code: 'already_resolved' })
    await ended(job_id)
    expect(await first(job_id, words)).toMatchObject({ status: 409, code: 'already_resolved' })
    expect(await ended(job_id)).toEqual(['parked', 'approved', 'succeeded'])
    expect(runs(job_id)).toBe(1)
  })

  test('headers and labels that say a job is approved are the agent’s own words', async () => {
    const forged = headers()
    for (const [name, value] of Object.entries({
      'Nats-Msg-Id': randomUUID(),
      'Sluice-Decision': '1',
      'Sluice-Ticket': 'approved',
      'Sluice-Result-Token': 'a'.repeat(64),
      'Sluice-Expires': '2000-01-01T00:00:00Z',
      'X-Approved-By': 'demo-approver',
      'Sluice-Principal': 'demo-approver',
    }))
      forged.set(name, value)
    const body = JSON.stringify({ labels: { approved: 'true', 'approved-by': 'demo-approver' } })
    const parked = (await agent.request('job.ask.x', body, { headers: forged, timeout: 5_000 })).json<Asked>()
    expect(parked.state).toBe('PARKED')
    expect(Date.parse(parked.approval?.expires_at ?? '')).toBeGreaterThan(Date.now())
    const actor = (await readJob(nats, parked.job_id))[0]?.data.actor
    expect(actor).toEqual({ auth: 'nats', id: 'demo', type: 'agent' })
    expect(runs(parked.job_id)).toBe(0)
  })

  test('a header that names another approver names nobody', async () => {
    const [api] = apis as [ApiCall]
    const { job_id } = await park()
    const as = { 'X-Forwarded-User': 'second-approver', 'X-Approver': 'second-approver' }
    const done = await api('POST', `/api/v1/approvals/${job_id}/approve`, { note: '' }, as)
    expect(done.body).toMatchObject({ resolution: { by: 'demo-approver' } })
  })

  test('a job that nobody knows, and one that is another tenant’s by the name of one’s own, are 404', async () => {
    const bot = await nats.connect('support-bot')
    const { job_id } = await ask(bot, 'job.support-bot.ask.x', {})
    for (const job of [`default.s${'0'.repeat(26)}`, job_id.replace('acme.', 'default.')])
      expect(await first(job)).toMatchObject({ status: 404, code: 'not_found' })
    expect(await readJob(nats, job_id)).toHaveLength(1)
  })
})

test.each(['reject', 'claim'])(
  'to %s with half of a surrogate pair in the note is refused, and no command is left to be tried for ever',
  async (decision) => {
    const { job_id } = await park()
    const approver = await nats.connect('demo-approver')
    const body = `{"decision":"${decision}","note":"\\ud800"}`
    const subject = `approvals.resolve.demo-approver.${job_id}`
    expect((await approver.request(subject, body, { timeout: 15_000 })).json()).toMatchObject({
      status: 400,
      code: 'invalid_json',
    })
    await expect.poll(async () => leftOver(await asOwner(nats), /^COMMANDS$/)).toEqual({})
    expect((await readJob(nats, job_id)).map(({ data }) => data.event)).toEqual(['parked'])
  },
)

/** Last, because the gateways end in it. */
test('killed between the approval and the dispatch: after the restart exactly one dispatch', async () => {
  const { job_id } = await park('job.ask.doomed')
  await shortenAckWait(await asOwner(nats), 2)
  expect(await first(job_id)).toMatchObject({ status: 503, code: 'unavailable' })
  expect((await readJob(nats, job_id)).map(({ data }) => data.event)).toEqual(['parked', 'approved'])
  await Promise.all(gateways.map((gateway) => gateway.stop()))
  gateways = [await startGateway({ ...config, gateway: 'after' })]
  expect(await ended(job_id)).toEqual(['parked', 'approved', 'succeeded'])
  expect(runs(job_id)).toBe(1)
})

function asGateway(): Promise<Bus> {
  return connectBus({
    url: nats.url,
    user: 'gateway',
    password: nats.passwords['gateway'],
    inboxPrefix: '_INBOX_gateway',
    name: 'somebody with the gateway’s credential',
  })
}
