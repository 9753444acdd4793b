import { afterAll, beforeAll, expect, test } from 'vitest'
import type { NatsConnection } from '@nats-io/transport-node'
import type { Config } from '../../gateway/config/config.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { ask, readJob, testConfig, until } from '../helpers/gateway.ts'

const policy = `version: v1
rules:
  - id: brief
    match: { topics: ["job.brief.*"] }
    decision: require_approval
    approval:
      expires_in: 2500ms
      remind_at: 300ms
      escalate_to: [{ persons: [second-approver], after: 1s }, { groups: [bosses], after: 600ms }]
  - id: once
    match: { topics: ["job.once.*", "job.held.*"] }
    decision: require_approval
    approval: { level: high, remind_at: 1s }
`

let nats: TestNats
let config: Config
let gateways: Gateway[]
let agent: NatsConnection
let approver: NatsConnection
const heard: { subject: string; text: string }[] = []

beforeAll(async () => {
  nats = await startTestNats()
  config = await testConfig(nats, policy)
  gateways = await start()
  agent = await nats.connect('demo')
  approver = await nats.connect('demo-approver')
  approver.subscribe('approvals.notify.>', {
    callback: (_error, message) => void heard.push({ subject: message.subject, text: message.string() }),
  })
  await approver.flush()
})
afterAll(async () => {
  await Promise.all(gateways.map((gateway) => gateway.stop()))
  await nats.stop()
})

const start = (): Promise<Gateway[]> =>
  Promise.all(['one', 'two'].map((gateway) => startGateway({ ...config, gateway })))
const park = async (topic: string, payload: object = {}): Promise<string> => {
  const { state, job_id } = await ask(agent, topic, { payload }, crypto.randomUUID())
  expect(state).toBe('PARKED')
  return job_id
}
const events = async (job: string): Promise<string[]> =>
  (await readJob(nats, job)).map(({ data }) => data.event)
const eventsFrom = (job: string, last: string): Promise<string[]> =>
  until(async () => {
    const found = await events(job)
    return found.at(-1) === last && found
  })
/** What was said about a job, each thing once: a redelivery may say it again under the same id. */
const saidOf = (job: string): Map<string, { subject: string; text: string }> =>
  new Map(
    heard
      .filter(({ subject }) => subject.endsWith(`.${job}`))
      .map((one) => [(JSON.parse(one.text) as { id: string }).id, one]),
  )
const noticesOf = (job: string): string[] =>
  [...saidOf(job).values()].map(({ subject }) => subject.split('.')[2] ?? '')

test('an approval that nobody gives is reminded of once, escalated as often as written, and expires, with two gateways', async () => {
  const jobs = await Promise.all(Array.from({ length: 8 }, () => park('job.brief.x')))
  for (const job of jobs) {
    const found = await eventsFrom(job, 'expired')
    expect(found).toEqual(['parked', 'reminded', 'escalated', 'escalated', 'expired'])
    await expect.poll(() => noticesOf(job)).toEqual(found)
  }
  const records = await readJob(nats, jobs[0] ?? '')
  const { requested_at: requestedAt = '', ...approval } = records[3]?.data.approval ?? {}
  const after = (ms: number): string => new Date(Date.parse(requestedAt) + ms).toISOString()
  expect(approval).toMatchObject({
    remind_at: after(300),
    escalations: [
      { to: { kind: 'groups', names: ['bosses'] }, at: after(600) },
      { to: { kind: 'persons', names: ['second-approver'] }, at: after(1_000) },
    ],
  })
  // Never early; how late they are on a busy machine is nobody's promise.
  const due = [after(0), after(300), after(600), after(1_000), after(2_500)]
  for (const [index, { time }] of records.entries()) expect(time >= (due[index] ?? '')).toBe(true)
  const escalated = [...saidOf(jobs[0] ?? '').values()]
    .filter(({ subject }) => subject === `approvals.notify.escalated.${jobs[0]}`)
    .map(({ text }) => (JSON.parse(text) as { escalated_to: { names: string[] } }).escalated_to.names)
  expect(escalated).toEqual([['bosses'], ['second-approver']])
})

test('what is heard says who, what and until when, and neither the payload nor what anybody wrote', async () => {
  const [secret, note] = [['pay', 'load'].join('-'), ['a', 'note'].join('-')]
  const job = await park('job.once.told', { secret })
  const wish = JSON.stringify({ decision: 'approve', note })
  expect(
    (await approver.request(`approvals.resolve.demo-approver.${job}`, wish)).json<{ state: string }>().state,
  ).toBe('DISPATCHED')
  await expect.poll(() => noticesOf(job)).toEqual(['parked', 'resolved'])
  const texts = [...saidOf(job).values()].map(({ text }) => text)
  expect(texts.join('\n')).not.toMatch(new RegExp(`${secret}|${note}`))
  const [parked, resolved] = texts.map((text) => JSON.parse(text) as Record<string, unknown>)
  const approval = (await readJob(nats, job))[0]?.data.approval
  expect(parked).toMatchObject({
    event: 'parked',
    job_id: job,
    topic: 'job.once.told',
    tenant: 'default',
    actor: 'demo',
    rule_id: 'once',
    level: 'high',
    expires_at: approval?.expires_at,
    votes: [],
  })
  expect(resolved).toMatchObject({
    state: 'DISPATCHED',
    votes: [{ by: 'demo-approver', decision: 'approve' }],
    resolution: { decision: 'approve', by: 'demo-approver' },
  })
})

test('a reminder that is outstanding when the gateways stop is given by those that start', async () => {
  const job = await park('job.once.restart')
  await Promise.all(gateways.map((gateway) => gateway.stop()))
  gateways = await start()
  expect(await eventsFrom(job, 'reminded')).toEqual(['parked', 'reminded'])
  const wish = JSON.stringify({ decision: 'approve', note: 'still possible' })
  expect(
    (await approver.request(`approvals.resolve.demo-approver.${job}`, wish)).json<{ state: string }>().state,
  ).toBe('DISPATCHED')
})

test('while a stop holds a job nobody is reminded of it; resumed, it goes on with the time that was left', async () => {
  const order = async (path: string, body: object): Promise<{ id: string }> =>
    (
      await fetch(`${gateways[0]?.httpUrl ?? ''}/api/v1/control/${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    ).json() as Promise<{ id: string }>
  const held = await park('job.held.x')
  const scope = { kind: 'topic', pattern: 'job.held.*' }
  const { id } = await order('stop', { scope, reason: 'a drill' })
  const free = await park('job.once.meanwhile')
  await eventsFrom(free, 'reminded')
  expect(await events(held)).toEqual(['parked'])
  await order('resume', { id, stage: 'draining', reason: 'over' })
  await order('resume', { id, stage: 'resumed', reason: 'over' })
  expect(await eventsFrom(held, 'reminded')).toEqual(['parked', 'reminded'])
})
