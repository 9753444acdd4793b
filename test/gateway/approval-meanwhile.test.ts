import { readFile, writeFile } from 'node:fs/promises'
import type { Msg, NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Config } from '../../gateway/config/config.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { approverOn, type Resolve } from '../helpers/approver.ts'
import { ask, coreWorker, readJob, testConfig } from '../helpers/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'

/** What may change between the moment a job is parked and the moment somebody decides about it. */

const asks = `  - id: asks
    match: { topics: ["job.write.*"] }
    decision: require_approval
    approval: { thresholds: [{ from: { groups: [ops] }, approve: 2, deny: 1 }] }
  - { id: single, match: { topics: ["job.one.*"] }, decision: require_approval }`
const file = (rules: string): string => `version: v1\nrules:\n${rules}\n`
const hourMs = 3_600_000

let nats: TestNats
let config: Config
let gateway: Gateway
let agent: NatsConnection
let first: Resolve
let second: Resolve
let received: readonly Msg[]
let skewMs = 0

beforeAll(async () => {
  nats = await startTestNats()
  config = await testConfig(nats, file(asks))
  config = { ...config, topologyFile: config.policyFile.replace('policy.yaml', 'topology.yaml') }
  await members('demo-approver, second-approver')
  gateway = await start()
  agent = await nats.connect('demo')
  first = await approverOn(nats, 'demo-approver')
  second = await approverOn(nats, 'second-approver')
  received = (await coreWorker(nats, 'helpdesk-1', () => undefined)).seen
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

const start = (): Promise<Gateway> => startGateway(config, { nowMs: () => Date.now() + skewMs })
const park = async (topic = 'job.one.x'): Promise<string> => {
  const parked = await ask(agent, topic, {}, crypto.randomUUID())
  expect(parked.state).toBe('PARKED')
  return parked.job_id
}
const events = async (job: string): Promise<string[]> =>
  (await readJob(nats, job)).map(({ data }) => data.event)
const runs = (job: string): number =>
  received.filter((message) => message.headers?.get('Sluice-Job') === job).length

/** What happens under another policy; afterwards the first one is in force again. */
async function under(rules: string, act: () => Promise<void>): Promise<void> {
  await writeFile(config.policyFile, file(rules))
  await gateway.reload()
  await act()
  await writeFile(config.policyFile, file(asks))
  await gateway.reload()
}

async function members(ops: string): Promise<void> {
  const demo = await readFile('deploy/topology.yaml', 'utf8')
  await writeFile(config.topologyFile, `${demo}\ngroups: { ops: [${ops}] }\n`)
}

test('a stricter limit that came meanwhile is the one that the approved job runs under', async () => {
  const job = await park()
  const limit = `  - { id: limit, match: { topics: ["job.one.*"] }, decision: allow_with_constraints, constraints: { max_runtime_sec: 7 } }`
  await under(`${asks}\n${limit}`, async () => {
    expect(await first(job)).toMatchObject({ state: 'DISPATCHED' })
  })
  expect((await readJob(nats, job)).at(-1)?.data.decision.constraints).toEqual({ max_runtime_sec: 7 })
})

test('a denial that came meanwhile is a denial, whoever approves', async () => {
  const job = await park()
  const denies = `  - { id: denies, match: { topics: ["job.one.*"] }, decision: deny, reason: "not any more" }`
  await under(`${asks}\n${denies}`, async () => {
    expect(await first(job)).toMatchObject({ status: 409, code: 'denied_now', detail: 'not any more' })
  })
  expect(await events(job)).toEqual(['parked', 'denied'])
  expect(runs(job)).toBe(0)
})

test('when the rule is gone and nothing else allows the job, an approval releases nothing', async () => {
  const job = await park()
  await under(asks.slice(0, asks.indexOf('  - { id: single')), async () => {
    expect(await first(job)).toMatchObject({ status: 409, code: 'denied_now' })
  })
  expect((await readJob(nats, job)).at(-1)?.data.decision.rule_id).toBe('sluice.no-match')
  expect(runs(job)).toBe(0)
})

test('when the policy would allow the job by now, it still waits for a person, and one releases it', async () => {
  const job = await park()
  const allows = asks.replace('decision: require_approval }', 'decision: allow }')
  await under(allows, async () => {
    expect(await events(job)).toEqual(['parked'])
    expect(await first(job)).toMatchObject({ state: 'DISPATCHED', resolution: { by: 'demo-approver' } })
  })
  expect(await events(job)).toEqual(['parked', 'approved'])
})

test('when more is asked for by now, the job is parked again under that, and the word counts for nothing yet', async () => {
  const job = await park()
  const more = asks.replace(
    'decision: require_approval }',
    'decision: require_approval, approval: { thresholds: [{ from: { groups: [ops] }, approve: 2 }] } }',
  )
  await under(more, async () => {
    expect(await first(job)).toMatchObject({ status: 409, code: 'rebound', state: 'PARKED' })
    const { approval } = (await readJob(nats, job)).at(-1)?.data ?? {}
    expect(approval?.votes).toEqual([])
    expect(await first(job)).toMatchObject({ state: 'PARKED' })
    expect(await second(job)).toMatchObject({ state: 'DISPATCHED' })
  })
  expect(await events(job)).toEqual(['parked', 'parked', 'voted', 'approved'])
})

test('a refusal needs no policy: it stands whatever has changed', async () => {
  const job = await park()
  await under(asks.replace('decision: require_approval }', 'decision: deny }'), async () => {
    expect(await first(job, { decision: 'reject' })).toMatchObject({ state: 'REJECTED' })
  })
})

test('a clock that is stepped forth expires the approval; stepped back it gives nothing back that was ended', async () => {
  const [tried, untouched] = [await park(), await park()]
  skewMs = 2 * hourMs
  expect(await first(tried)).toMatchObject({ status: 410, code: 'expired' })
  skewMs = -24 * hourMs
  const before = await park()
  expect(await first(untouched)).toMatchObject({ state: 'DISPATCHED' })
  skewMs = 0
  // Parked by a clock that was a day behind: by the right one its hour is long over.
  expect(await first(before)).toMatchObject({ status: 410, code: 'expired' })
  expect(runs(tried) + runs(before)).toBe(0)
  for (const job of [tried, before]) expect(await events(job)).not.toContain('approved')
})

test('somebody who left the group between the votes does not count any more', async () => {
  const job = await park('job.write.x')
  expect(await first(job)).toMatchObject({ state: 'PARKED' })
  await gateway.stop()
  await members('second-approver')
  gateway = await start()
  expect(await second(job)).toMatchObject({ state: 'PARKED', resolution: { by: 'second-approver' } })
  expect(await first(job)).toMatchObject({ status: 403, code: 'not_an_approver' })
  expect(await events(job)).toEqual(['parked', 'voted', 'voted'])
  expect(runs(job)).toBe(0)
})

/** The rule's place stays taken: nobody ends the job that runs. */
const oneAtATime = (id: string): string =>
  `  - { id: ${id}, match: { topics: ["job.one.*"] }, decision: allow_with_constraints, constraints: { max_concurrency: 1, max_runtime_sec: 7 } }`

/** Approves a job that has to wait, because another one runs, and changes the policy while it does. */
async function approvedAndWaiting(
  rule: string,
  then: string,
  act: (job: string) => Promise<void>,
): Promise<void> {
  const [running, job] = [await park(), await park()]
  await under(`${asks}\n${oneAtATime(rule)}`, async () => {
    expect(await first(running)).toMatchObject({ state: 'DISPATCHED' })
    expect(await first(job)).toMatchObject({ state: 'THROTTLED' })
    await under(then, async () => {
      await expect.poll(async () => (await events(job)).at(-1)).not.toBe('throttled')
      await act(job)
    })
  })
}

test('an approved job that waits for room is asked about again, if by then something else is asked for', async () => {
  const more = asks.replace(
    'decision: require_approval }',
    'decision: require_approval, approval: { thresholds: [{ from: { persons: [demo-approver, second-approver] }, approve: 2 }] } }',
  )
  await approvedAndWaiting('limit-1', more, async (job) => {
    expect(await events(job)).toEqual(['parked', 'throttled', 'parked'])
    expect(runs(job)).toBe(0)
    const { approval, resolution } = (await readJob(nats, job)).at(-1)?.data ?? {}
    expect([approval?.votes, resolution]).toEqual([[], undefined])
    expect(await first(job)).toMatchObject({ state: 'PARKED' })
    expect(await second(job)).toMatchObject({ state: 'DISPATCHED' })
  })
})

test('an approved job that waits for room runs within the limits of its approval, however loose they are by then', async () => {
  await approvedAndWaiting('limit-2', asks, async (job) => {
    const { event, decision } = (await readJob(nats, job)).at(-1)?.data ?? {}
    expect(event).toBe('approved')
    expect(decision?.constraints).toEqual({ max_concurrency: 1, max_runtime_sec: 7 })
  })
})
