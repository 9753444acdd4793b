import { randomUUID } from 'node:crypto'

import type { Msg, NatsConnection } from '@nats-io/transport-node'
import { afterEach, expect, test } from 'vitest'

import { connectBus } from '../../gateway/bus/bus.ts'
import { keepRoom } from '../../gateway/bus/room.ts'
import type { Config } from '../../gateway/config/config.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import {
  answerJob,
  ask,
  coreWorker,
  readAudit,
  readJob,
  testConfig,
  until,
  type Asked,
} from '../helpers/gateway.ts'
import { asOwner, startTestNats, type TestNats, type TestNatsOptions } from '../helpers/nats-server.ts'

const policy = `version: v1
rules:
  - { id: free, match: { topics: ["job.free.*"] }, decision: allow }
  - { id: ask, match: { topics: ["job.ask.*", "job.slow.ask"] }, decision: require_approval }
  - id: slow
    match: { topics: ["job.slow.*"] }
    decision: throttle
    throttle: { rate: 1, per: 1s, max_wait: 1m }
  - id: counted
    match: { topics: ["job.counted.*"] }
    decision: throttle
    throttle: { rate: 5, per: 1m, on_limit: deny, key: ["label:customer"] }
  - id: narrow
    match: { topics: ["job.narrow.*"] }
    decision: allow_with_constraints
    constraints: { max_concurrency: 1 }
`

let nats: TestNats
let gateway: Gateway
let agent: NatsConnection

async function start(options: TestNatsOptions, more: Partial<Config> = {}): Promise<void> {
  nats = await startTestNats({ owner: 'stays', ...options })
  gateway = await startGateway(await testConfig(nats, policy, more))
  agent = await nats.connect('demo')
}
afterEach(async () => {
  await gateway.stop()
  await nats.stop()
})

const approve = async (job: string): Promise<string | undefined> => {
  const approver = await nats.connect('demo-approver')
  const subject = `approvals.resolve.demo-approver.${job}`
  const answer = await approver.request(subject, '{"decision":"approve"}', { timeout: 5_000 })
  await approver.close()
  return answer.json<{ state?: string }>().state
}
const copiesIn = async (stream: string): Promise<number> => {
  const info = await (await asOwner(nats))(`$JS.API.STREAM.INFO.${stream}`)
  return (info['state'] as { messages: number }).messages
}
/** What an operator does when a stream is too small. */
const enlarge = async (stream: string, max_bytes: number): Promise<void> => {
  const api = await asOwner(nats)
  const { config } = (await api(`$JS.API.STREAM.INFO.${stream}`)) as { config: object }
  await api(`$JS.API.STREAM.UPDATE.${stream}`, { ...config, max_bytes })
}
const eventsOf = async (job: string): Promise<string[]> =>
  (await readJob(nats, job)).map(({ data }) => data.event)
const full = { type: 'DENY', rule_id: 'sluice.queue-full' }

/** The same request would join the one that waits already. */
const askAnew = (subject: string): Promise<Asked> => ask(agent, subject, {}, randomUUID())

test('a full queue of approvals denies on record, says so, and takes the next job when there is room', async () => {
  await start({ limits: { approvalsPendingMax: 2 } })
  const [first] = [await askAnew('job.ask.x'), await askAnew('job.ask.x')]
  const refused = await askAnew('job.ask.x')
  expect(refused).toMatchObject({ state: 'DENIED', decision: full, next: 'retry' })
  expect((await readJob(nats, refused.job_id)).map(({ data }) => data.event)).toEqual(['parked', 'denied'])
  expect(await approve((first as Asked).job_id)).toBe('DISPATCHED')
  expect((await askAnew('job.ask.x')).state).toBe('PARKED')
})

test('a job that waited its turn and then finds the approvals full takes nobody else’s copy with it', async () => {
  await start({ limits: { approvalsPendingMax: 2 } })
  // In both queues the sequences begin at 1: a removal in the wrong one would hit a parked job.
  await ask(agent, 'job.slow.run', {})
  const slow = [await askAnew('job.slow.ask'), await askAnew('job.slow.ask')]
  expect(slow.map(({ state }) => state)).toEqual(['THROTTLED', 'THROTTLED'])
  const parked = [await askAnew('job.ask.x'), await askAnew('job.ask.x')]
  for (const { job_id } of slow) {
    const events = await until(async () => {
      const records = await readJob(nats, job_id)
      return records.at(-1)?.data.terminal !== undefined && records.map(({ data }) => data.event)
    })
    expect(events).toEqual(['throttled', 'parked', 'denied'])
  }
  expect(await copiesIn('THROTTLED')).toBe(0)
  for (const { job_id } of parked) expect(await approve(job_id)).toBe('DISPATCHED')
})

test('a job that cannot be counted has no place in its limit, and what runs ends all the same', async () => {
  await start({})
  const worker = await nats.connect('helpdesk-1')
  const received: Msg[] = []
  worker.subscribe('worker.helpdesk.>', {
    queue: 'helpdesk',
    callback: (_error, job) => void received.push(job),
  })
  await worker.flush()
  const running = await ask(agent, 'job.narrow.x', {})
  await until(() => received.length === 1)
  await enlarge('KV_gov_budget', 4_096)
  // A counter for each new name, until there is no room for another.
  const last = await until(async () => {
    const asked = await ask(agent, 'job.counted.x', { labels: { customer: randomUUID() } })
    return asked.state !== 'DISPATCHED' && asked
  })
  expect(last).toMatchObject({ state: 'DENIED', decision: { type: 'THROTTLE', rule_id: 'counted' } })
  answerJob(worker, 'helpdesk-1', received[0] as Msg, '{}')
  await until(async () => (await eventsOf(running.job_id)).at(-1) === 'succeeded')
  expect(await copiesIn('RESULTS_helpdesk')).toBe(0)
})

test('a full queue of waiting jobs denies on record, and takes the next one when there is room', async () => {
  await start({ limits: { throttledMax: 1 } })
  const [free, waiting, refused] = [
    await ask(agent, 'job.slow.run', {}),
    await ask(agent, 'job.slow.run', {}),
    await ask(agent, 'job.slow.run', {}),
  ]
  expect([free.state, waiting.state]).toEqual(['DISPATCHED', 'THROTTLED'])
  expect(refused).toMatchObject({ state: 'DENIED', decision: full })
  await until(async () => (await readJob(nats, waiting.job_id)).at(-1)?.data.state.to === 'DISPATCHED')
  expect((await ask(agent, 'job.slow.run', {})).state).toBe('THROTTLED')
})

test('what a full WORK has no room for is on record, runs nowhere, and runs once when there is room', async () => {
  await start({ limits: { workBytesMax: 64 * 1024 } })
  const worker = await coreWorker(nats, 'helpdesk-1', () => ({ body: '{}' }))
  const jobs = Array.from({ length: 12 }, (_, n) => `job-${n}`)
  const payload = 'x'.repeat(8 * 1024)
  const submit = (id: string): Promise<Asked> => ask(agent, 'job.free.big', { payload }, id)
  // Who asks again is told how it stands: decided, and dispatched as soon as that is possible.
  const answers = await Promise.all(jobs.map((id) => until(async () => answered(await submit(id)))))
  for (const { job_id } of answers) expect((await eventsOf(job_id))[0]).toBe('allowed')
  expect(worker.seen.length).toBeGreaterThan(3)
  expect(worker.seen.length).toBeLessThan(jobs.length)
  expect(await copiesIn('WORK')).toBe(worker.seen.length)

  await enlarge('WORK', 1024 * 1024)
  for (const { job_id } of answers) await until(async () => (await eventsOf(job_id)).at(-1) === 'succeeded')
  const received = worker.seen.map((job) => job.headers?.get('Sluice-Job') ?? '')
  expect(received.toSorted()).toEqual(answers.map(({ job_id }) => job_id).toSorted())
})

test('a nearly full AUDIT takes no new job, lets the running ones end, and goes on when there is room', async () => {
  const auditBytesMax = 2 * 1024 * 1024
  await start({ limits: { auditBytesMax } })
  const running: Msg[] = []
  const worker = await nats.connect('helpdesk-1')
  worker.subscribe('worker.helpdesk.>', {
    queue: 'helpdesk',
    callback: (_error, job) => void running.push(job),
  })
  await worker.flush()
  const before = await Promise.all(Array.from({ length: 5 }, () => ask(agent, 'job.free.run', {})))
  await fillAudit(auditBytesMax * 0.92)
  const ready = async (): Promise<number> => (await fetch(`${gateway.httpUrl}/readyz`)).status
  await until(async () => (await ready()) === 503)
  expect((await ask(agent, 'job.free.run', {}, 'late')).error?.description).toContain('not decided')

  for (const job of running) answerJob(worker, 'helpdesk-1', job, '{}')
  for (const { job_id } of before) await until(async () => (await eventsOf(job_id)).at(-1) === 'succeeded')
  expect(running).toHaveLength(before.length)

  await enlarge('AUDIT', 4 * auditBytesMax)
  const late = await until(async () => answered(await ask(agent, 'job.free.run', {}, 'late')))
  expect(late.state).toBe('DISPATCHED')
})

test('a full AUDIT stops everything: no record, no dispatch, and nothing is lost when there is room', async () => {
  const auditBytesMax = 256 * 1024
  await start({ limits: { auditBytesMax } })
  const worker = await coreWorker(nats, 'helpdesk-1', () => ({ body: '{}' }))
  const { job_id: twice } = await ask(agent, 'job.free.first', {})
  await until(async () => (await eventsOf(twice)).at(-1) === 'succeeded')
  const count = 250
  for (let n = 1; n < count; n++) agent.publish('job.free.run', JSON.stringify({ payload: { n } }))
  await agent.flush()
  await until(async () => (await bytesIn('AUDIT')) > auditBytesMax * 0.97)
  // Full means that not even the shortest note fits.
  await fillAudit(Infinity, 'x')
  const allowed = async (): Promise<number> =>
    (await readAudit(nats)).filter(({ record }) => record.data.event === 'allowed').length
  const refused = await allowed()
  expect(refused).toBeLessThan(count)
  await until(async () => (await copiesIn('WORK')) === refused)
  expect(await allowed()).toBe(refused)
  expect(worker.seen.length).toBe(refused)
  // A second result of a job that ended: its refusal has no room either, and must not be dropped for that.
  const other = await nats.connect('helpdesk-2')
  answerJob(other, 'helpdesk-2', worker.seen[0] as Msg, '{}')
  await other.flush()

  await enlarge('AUDIT', 64 * 1024 * 1024)
  await until(async () => {
    const ended = (await readAudit(nats)).filter(({ record }) => record.data.event === 'succeeded')
    return ended.length === count
  })
  expect(new Set(worker.seen.map((job) => job.headers?.get('Sluice-Job'))).size).toBe(count)
  expect(worker.seen).toHaveLength(count)
  const beside = await until(async () =>
    (await readAudit(nats)).find(({ subject }) => subject === `audit._refused.${twice}`),
  )
  expect(beside.record.data).toMatchObject({ refuse: 'late-result', principal: 'helpdesk/helpdesk-2' })
  const info = await (await asOwner(nats))('$JS.API.STREAM.INFO.AUDIT')
  expect((info['state'] as { first_seq: number }).first_seq).toBe(1)
})

test('outputs that are kept back fill their own stream, and the results of nobody else stand behind them', async () => {
  await start({ limits: { quarantineBytesMax: 32 * 1024 } })
  const secret = ['-----', 'BEGIN ', 'PRIVATE KEY', '-----'].join('')
  const worker = await coreWorker(nats, 'helpdesk-1', (job) => ({
    body: job.headers?.get('Sluice-Topic') === 'job.free.secret' ? `${secret}${'x'.repeat(10_000)}` : '{}',
  }))
  const kept = []
  for (let n = 0; n < 5; n++) kept.push(await ask(agent, 'job.free.secret', { payload: { n } }))
  const ends = await Promise.all(
    kept.map(({ job_id }) =>
      until(
        async () =>
          (await readJob(nats, job_id)).find(({ data }) => data.result !== undefined) && eventsOf(job_id),
      ),
    ),
  )
  const free = await ask(agent, 'job.free.run', {})
  await until(async () => (await eventsOf(free.job_id)).at(-1) === 'succeeded')
  await until(async () => (await copiesIn('RESULTS_helpdesk')) === 0)
  expect(ends.flat()).not.toContain('succeeded')
  const last = await Promise.all(kept.map(async ({ job_id }) => (await readJob(nats, job_id)).at(-1)?.data))
  expect(last.filter((data) => data?.event === 'expired' && data.limit === 'quarantine-full')).toHaveLength(2)
  expect(await copiesIn('QUARANTINE')).toBe(3)
  expect(worker.seen).toHaveLength(6)
})

const answered = (answer: Asked): Asked | undefined => (answer.error === undefined ? answer : undefined)

async function bytesIn(stream: string): Promise<number> {
  const info = await (await asOwner(nats))(`$JS.API.STREAM.INFO.${stream}`)
  return (info['state'] as { bytes: number }).bytes
}

/** Notes beside the chains, as a gateway may write them, until the stream holds so many bytes or takes no more. */
async function fillAudit(bytes: number, note = 'x'.repeat(24_000)): Promise<void> {
  const connected = await connectBus({
    url: nats.url,
    user: 'gateway',
    password: nats.passwords['gateway'],
    inboxPrefix: '_INBOX_gateway',
    name: 'filler',
  })
  const bus = keepRoom(connected)
  const body = JSON.stringify({ type: 'filler', data: note })
  while ((await bytesIn('AUDIT')) < bytes && (await bus.append('audit._control', body)).type === 'stored');
  await bus.close()
}
