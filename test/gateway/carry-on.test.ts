import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Bus } from '../../gateway/bus/bus.ts'
import { BusError } from '../../gateway/bus/message.ts'
import type { Config } from '../../gateway/config/config.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { leftOver } from '../crash/streams.ts'
import { apiOf } from '../helpers/api.ts'
import { approverOn, type Resolve } from '../helpers/approver.ts'
import { ask, coreWorker, readAudit, readJob, testConfig, until } from '../helpers/gateway.ts'
import { asOwner, startTestNats, type TestNats } from '../helpers/nats-server.ts'

/** Between the record that approves a job and its dispatch a gateway may die, and nobody have the command any more. */

const policy = `version: v1
rules:
  - id: ask
    match: { topics: ["job.ask.*"] }
    decision: require_approval
    approval: { thresholds: [{ from: { groups: [ops] }, approve: 1 }] }
  - id: pair
    match: { topics: ["job.pair.*"] }
    decision: require_approval
    approval: { thresholds: [{ from: { persons: [demo-approver, second-approver] }, approve: 2 }] }
  - { id: slow, match: { topics: ["job.slow.*"] }, decision: throttle, throttle: { rate: 1, per: 1s, max_wait: 1m } }
  - { id: slow-ask, match: { topics: ["job.slow.*"] }, decision: require_approval }
  - { id: soon, match: { topics: ["job.soon.*"] }, decision: require_approval, approval: { expires_in: 2s } }
`

let nats: TestNats
let config: Config
let agent: NatsConnection
let approve: Resolve
let received: readonly string[]

beforeAll(async () => {
  nats = await startTestNats({ owner: 'stays' })
  config = await withOps('demo-approver')
  agent = await nats.connect('demo')
  approve = await approverOn(nats, 'demo-approver')
  const jobs: string[] = []
  received = jobs
  await coreWorker(nats, 'helpdesk-1', ({ headers }) => {
    jobs.push(headers?.get('Sluice-Job') ?? '')
    return { body: '{}' }
  })
})
afterAll(() => nats.stop())

/** The same gateway in everything but who counts as one of `ops`. */
async function withOps(members: string): Promise<Config> {
  const made = config ?? (await testConfig(nats, policy))
  const topologyFile = join(dirname(made.policyFile), `${members}.yaml`)
  const demo = await readFile('deploy/topology.yaml', 'utf8')
  await writeFile(topologyFile, `${demo}\ngroups: { ops: [${members}] }\n`)
  return { ...made, topologyFile }
}

const park = async (topic: string): Promise<string> => {
  const { state, job_id } = await ask(agent, topic, {}, randomUUID())
  expect(state).toBe('PARKED')
  return job_id
}
const events = async (job: string): Promise<string[]> =>
  (await readJob(nats, job)).map(({ data }) => data.event)
const isRefused = async (job: string): Promise<boolean> =>
  (await readAudit(nats)).some(({ subject }) => subject === `audit._refused.${job}`)

/** It never gets to hear of a stored command: only whoever asks it directly has it carry one out. */
function deaf(bus: Bus): Bus {
  return {
    ...bus,
    publish: (subject, ...rest) => {
      if (!subject.startsWith('$JS.API.CONSUMER.MSG.NEXT.COMMANDS.')) bus.publish(subject, ...rest)
    },
  }
}

/** As if it died for a job between the record that approves it and its dispatch. The record leaves when `mayLeave` says. */
function dyingAt(topic: string, mayLeave: (job: string) => Promise<unknown> = async () => undefined) {
  return (bus: Bus): Bus => ({
    ...deaf(bus),
    append: async (subject, body, options = {}) => {
      if (subject.startsWith(`gov.dispatch.helpdesk.${topic}.`)) throw new BusError('dead')
      const approves = subject.startsWith('audit.') && String(body).includes('"event":"approved"')
      if (!approves) return bus.append(subject, body, options)
      await mayLeave(subject.slice('audit.'.length))
      return bus.append(subject, body, { ...options, leaveByMs: undefined })
    },
  })
}

/** As if it died for a job between the record that parks it and the copy that is parked. */
const neverKeeping = (bus: Bus): Bus => ({
  ...deaf(bus),
  append: (subject, ...rest) => {
    if (subject.startsWith('approvals.pending.')) throw new BusError('dead')
    return bus.append(subject, ...rest)
  },
})

async function ranOnce(job: string): Promise<void> {
  await until(async () => (await events(job)).at(-1) === 'succeeded')
  expect(await events(job)).toEqual(['parked', 'approved', 'succeeded'])
  expect(received.filter((one) => one === job)).toHaveLength(1)
}

/** As if another gateway had taken the command, and refused it. */
async function takeCommandsAway(): Promise<void> {
  await (
    await asOwner(nats)
  )('$JS.API.STREAM.PURGE.COMMANDS')
}

test('a gateway that refused what another then approved sees to it when the other dies before the dispatch', async () => {
  const refused = (job: string): Promise<unknown> => until(() => isRefused(job))
  const dying = await startGateway({ ...config, gateway: 'dying' }, { bus: dyingAt('ask.split', refused) })
  const job = await park('job.ask.split')
  const other = await startGateway({ ...(await withOps('second-approver')), gateway: 'other' })
  // The request reaches both; the one that does not know this approver as one of `ops` may be the one to answer.
  const asked = apiOf(dying.httpUrl)('POST', `/api/v1/approvals/${job}/approve`)
  expect((await asked).status).toBe(503)
  expect(await events(job)).toEqual(['parked', 'approved'])
  await ranOnce(job)
  await stopAll(dying, other)
})

test('what a gateway left between an approval and its dispatch, the next one that starts carries on', async () => {
  const dying = await startGateway({ ...config, gateway: 'dying' }, { bus: dyingAt('ask.left') })
  const job = await park('job.ask.left')
  expect(await approve(job)).toMatchObject({ code: 'unavailable' })
  await takeCommandsAway()
  const next = await startGateway({ ...config, gateway: 'next' })
  await ranOnce(job)
  await stopAll(dying, next)
})

test('where nobody starts, the waiting copy sees to it when it is due', async () => {
  const other = await startGateway({ ...config, gateway: 'other' }, { bus: deaf })
  const dying = await startGateway({ ...config, gateway: 'dying' }, { bus: dyingAt('soon.left') })
  const job = await park('job.soon.left')
  const { status } = await apiOf(dying.httpUrl)('POST', `/api/v1/approvals/${job}/approve`)
  expect(status).toBe(503)
  await takeCommandsAway()
  // Whoever holds the copy looks at it, and the dying one holds what it gets to the end.
  await dying.stop()
  await ranOnce(job)
  await other.stop()
})

test('nothing follows the record that parks a job before its copy is stored: only its cause has the bytes', async () => {
  const dying = await startGateway({ ...config, gateway: 'dying' }, { bus: neverKeeping })
  agent.publish('job.pair.left', '{}')
  const parked = async () =>
    (await readAudit(nats)).find(({ record }) => record.data.topic === 'job.pair.left')
  await until(async () => (await parked()) !== undefined)
  const job = (await parked())?.record.data.job_id ?? ''
  for (const act of ['claim', 'approve'])
    expect((await apiOf(dying.httpUrl)('POST', `/api/v1/approvals/${job}/${act}`)).status).toBe(503)
  expect(await events(job)).toEqual(['parked'])
  await takeCommandsAway()
  await dying.stop()
})

test('two who park the same job at once do not take each other for a loss of its bytes', async () => {
  let looked = (): void => undefined
  const looking = new Promise<void>((resolve) => (looked = resolve))
  /** Stores its copy only when the other has seen that there is none. */
  const late = (bus: Bus): Bus => ({
    ...bus,
    append: async (subject, ...rest) => {
      if (subject.startsWith('approvals.pending.')) await looking
      return bus.append(subject, ...rest)
    },
  })
  /** Looks for the bytes only when the first has removed them. */
  const later = (bus: Bus): Bus => ({
    ...bus,
    last: async (stream, subject) => {
      const newest = stream === 'THROTTLED' ? await bus.last('AUDIT', audited(subject)) : undefined
      if (newest !== undefined && Buffer.from(newest.body).includes('"event":"parked"')) {
        looked()
        await until(async () => Object.keys(await leftOver(await asOwner(nats), /^THROTTLED$/)).length === 0)
      }
      return bus.last(stream, subject)
    },
  })
  const first = await startGateway({ ...config, gateway: 'first' }, { bus: late })
  // The first finds room and is parked at once, but not answered before its copy is stored: the one that is answered waits.
  const jobs = [randomUUID(), randomUUID()].map((id) => ask(agent, 'job.slow.x', {}, id))
  const waits = (await Promise.race(jobs)).job_id
  await until(async () => (await events(waits)).includes('parked'))
  const second = await startGateway({ ...config, gateway: 'second' }, { bus: later })
  await Promise.all(jobs)
  await new Promise((resolve) => setTimeout(resolve, 500))
  expect(await events(waits)).toEqual(['throttled', 'parked'])
  await stopAll(first, second)
})

const audited = (subject: string): string => subject.replace('gov.throttled.', 'audit.')

test('an approval that was refused is not carried out later, when nothing stands against it any more', async () => {
  const gateway = await startGateway(config)
  const api = apiOf(gateway.httpUrl)
  const job = await park('job.ask.stopped')
  const stop = await api('POST', '/api/v1/control/stop', { scope: { kind: 'all' }, reason: 'a look' })
  expect(await approve(job)).toMatchObject({ status: 409, code: 'stopped' })
  const wish = { id: stop.body['id'], stage: 'resumed', reason: 'all is well' }
  expect((await api('POST', '/api/v1/control/resume', wish)).status).toBe(200)
  await until(async () => Object.keys(await leftOver(await asOwner(nats), /^COMMANDS$/)).length === 0)
  expect(await events(job)).toEqual(['parked'])
  expect(await approve(job)).toMatchObject({ state: 'DISPATCHED' })
  await ranOnce(job)
  await gateway.stop()
})

async function stopAll(...gateways: Gateway[]): Promise<void> {
  await Promise.all(gateways.map((gateway) => gateway.stop()))
}
