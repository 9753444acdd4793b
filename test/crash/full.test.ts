import type { NatsConnection } from '@nats-io/transport-node'
import { afterEach, expect, test } from 'vitest'

import type { Config } from '../../gateway/config.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { ask, readJob, testConfig, until, type Asked } from '../helpers/gateway.ts'
import { asOwner, startTestNats, type TestNats, type TestNatsOptions } from '../helpers/nats-server.ts'

const policy = `version: v1
rules:
  - { id: free, match: { topics: ["job.free.*"] }, decision: allow }
  - { id: ask, match: { topics: ["job.ask.*", "job.slow.ask"] }, decision: require_approval }
  - id: slow
    match: { topics: ["job.slow.*"] }
    decision: throttle
    throttle: { rate: 1, per: 1s, max_wait: 1m }
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
const full = { type: 'DENY', rule_id: 'sluice.queue-full' }

test('a full queue of approvals denies on record, says so, and takes the next job when there is room', async () => {
  await start({ limits: { approvalsPendingMax: 2 } })
  const [first] = [await ask(agent, 'job.ask.x', {}), await ask(agent, 'job.ask.x', {})]
  const refused = await ask(agent, 'job.ask.x', {})
  expect(refused).toMatchObject({ state: 'DENIED', decision: full, next: 'retry' })
  expect((await readJob(nats, refused.job_id)).map(({ data }) => data.event)).toEqual(['parked', 'denied'])
  expect(await approve((first as Asked).job_id)).toBe('DISPATCHED')
  expect((await ask(agent, 'job.ask.x', {})).state).toBe('PARKED')
})

test('a job that waited its turn and then finds the approvals full takes nobody else’s copy with it', async () => {
  await start({ limits: { approvalsPendingMax: 2 } })
  // In both queues the sequences begin at 1: a removal in the wrong one would hit a parked job.
  await ask(agent, 'job.slow.run', {})
  const slow = [await ask(agent, 'job.slow.ask', {}), await ask(agent, 'job.slow.ask', {})]
  expect(slow.map(({ state }) => state)).toEqual(['THROTTLED', 'THROTTLED'])
  const parked = [await ask(agent, 'job.ask.x', {}), await ask(agent, 'job.ask.x', {})]
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
