import type { Msg, NatsConnection } from '@nats-io/transport-node'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'

import type { Bus } from '../../gateway/bus/bus.ts'
import type { Config } from '../../gateway/config/config.ts'
import { startGateway } from '../../gateway/gateway.ts'
import type { ApiRequest } from '../../gateway/nats/provision.ts'
import { answerJob, ask, coreWorker, readAudit, readJob, testConfig, until } from '../helpers/gateway.ts'
import { asOwner, startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { leftOver, shortenAckWait } from './streams.ts'

const policy = `version: v1
rules:
  - { id: free, match: { topics: ["job.free.*"] }, decision: allow }
  - id: brief
    match: { topics: ["job.brief.*"] }
    decision: allow_with_constraints
    constraints: { max_runtime_sec: 20, max_retries: 1 }
  - { id: ask, match: { topics: ["job.ask.*"] }, decision: require_approval }
`

let nats: TestNats
let api: ApiRequest
let config: Config
let agent: NatsConnection
/** Every dispatch, none of which is answered but by the test that asks for it. */
let seen: readonly Msg[]

beforeAll(async () => {
  nats = await startTestNats({ owner: 'stays' })
  api = await asOwner(nats)
  config = await testConfig(nats, policy)
  agent = await nats.connect('demo')
  ;({ seen } = await coreWorker(nats, 'helpdesk-1', () => undefined))
})
afterAll(() => nats.stop())

/**
 * A gateway that stands still behind its first record of this event, as on a machine that is suspended: the append is
 * acknowledged, so it has every right to act, and does not know for how long it was away.
 */
async function heldAfter(event: string): Promise<{ holds: Promise<string>; release(): Promise<void> }> {
  let stands: (job: string) => void = () => undefined
  let go: () => void = () => undefined
  const holds = new Promise<string>((resolve) => (stands = resolve))
  const released = new Promise<void>((resolve) => (go = resolve))
  const wrap = (bus: Bus): Bus => ({
    ...bus,
    append: async (subject, body, options) => {
      const appended = await bus.append(subject, body, options)
      if (subject.startsWith('audit.') && String(body).includes(`"event":"${event}"`)) {
        stands(subject.slice('audit.'.length))
        await released
      }
      return appended
    },
  })
  const gateway = await startGateway({ ...config, gateway: 'held' }, { bus: wrap })
  return {
    holds,
    // A gateway that stops finishes what it has in hand first: after it, all that it would do is done.
    release: async () => {
      go()
      await gateway.stop()
    },
  }
}

/** Longer than a gateway acts without looking again. */
const awayMs = 2_500

const copiesIn = async (stream: string, job: string): Promise<string[]> => {
  const info = await api(`$JS.API.STREAM.INFO.${stream}`, { subjects_filter: '>' })
  const { subjects } = info['state'] as { subjects?: Record<string, number> }
  return Object.keys(subjects ?? {}).filter((subject) => subject.includes(job))
}

test('a job that was cancelled while its gateway stood still is not dispatched when the gateway goes on', async () => {
  const held = await heldAfter('allowed')
  const asked = ask(agent, 'job.free.run', {}, 'cancelled', 20_000).catch(() => undefined)
  const job = await held.holds
  const other = await startGateway({ ...config, gateway: 'other' })
  const response = await fetch(`${other.httpUrl}/api/v1/jobs/${job}/cancel`, { method: 'POST' })
  expect(response.status).toBe(200)
  await sleep(awayMs)
  await held.release()
  await other.stop()
  expect(await copiesIn('WORK', job)).toEqual([])
  expect((await readJob(nats, job)).map(({ data }) => data.event)).toEqual(['allowed', 'cancelled'])
  await asked
})

test('a job that was approved while the gateway that parked it stood still leaves no second copy to approve', async () => {
  await shortenAckWait(api, 2)
  const held = await heldAfter('parked')
  const asked = ask(agent, 'job.ask.run', {}, 'approved', 20_000).catch(() => undefined)
  const job = await held.holds
  const other = await startGateway({ ...config, gateway: 'other' })
  const approver = await nats.connect('demo-approver')
  const approve = async (): Promise<boolean> => {
    const subject = `approvals.resolve.demo-approver.${job}`
    const answer = await approver
      .request(subject, '{"decision":"approve"}', { timeout: 5_000 })
      .catch(() => undefined)
    return answer?.json<{ state?: string }>().state === 'DISPATCHED'
  }
  await until(approve)
  await sleep(awayMs)
  await held.release()
  await other.stop()
  expect(await copiesIn('APPROVALS', job)).toEqual([])
  expect((await copiesIn('WORK', job)).length).toBe(1)
  expect((await readJob(nats, job)).map(({ data }) => data.event)).toEqual(['parked', 'approved'])
  // That the copy was not there yet was no refusal; only those who came after the approval were refused.
  const refused = (await readAudit(nats)).filter(({ subject }) => subject === `audit._refused.${job}`)
  const codes = refused.map(({ record }) => (record.data as unknown as { refuse: string }).refuse)
  expect(new Set(codes)).toEqual(new Set(codes.length > 0 ? ['already_resolved'] : []))
  await asked
})

test.each(['ok', 'error'] as const)(
  'a result (%s) that came in time counts, however long all gateways were away and whatever they find first',
  async (status) => {
    const first = await startGateway({ ...config, gateway: 'first' })
    const { job_id } = await ask(agent, 'job.brief.run', {})
    const job = await until(() => seen.find((one) => one.headers?.get('Sluice-Job') === job_id))
    await first.stop()
    const worker = await nats.connect('helpdesk-1')
    answerJob(worker, 'helpdesk-1', job, '{"done":true}', status)
    // Said again by mistake, and by somebody who knows no token: that is what stands newest.
    worker.publish(`result.helpdesk-1.${job_id}`, '{}')
    await worker.flush()

    // Ten minutes later, and results are slower to come than due times.
    const withheld: (() => void)[] = []
    let withholds = true
    let aheadMs = 0
    const later = await startGateway(
      { ...config, gateway: 'later' },
      {
        nowMs: () => Date.now() + aheadMs,
        bus: (bus) => ({
          ...bus,
          publish: (subject, ...rest) => {
            const publish = (): void => bus.publish(subject, ...rest)
            const asks = subject.startsWith('$JS.API.CONSUMER.MSG.NEXT.RESULTS_')
            if (withholds && asks) withheld.push(publish)
            else publish()
          },
        }),
      },
    )
    aheadMs = 600_000
    const events = async (): Promise<string[]> =>
      (await readJob(nats, job_id)).map(({ data }) => `${data.event} ${data.limit ?? ''}`.trim())
    await until(async () => (await events()).length > 1)
    withholds = false
    for (const publish of withheld) publish()
    await until(async () => Object.keys(await leftOver(api, /^RESULTS_/)).length === 0)
    expect(await events()).toEqual(['allowed', status === 'ok' ? 'succeeded' : 'retried error'])
    await later.stop()
    const refused = (await readAudit(nats)).filter(({ subject }) => subject === `audit._refused.${job_id}`)
    const codes = refused.map(({ record }) => (record.data as unknown as { refuse: string }).refuse)
    expect(codes).toEqual([status === 'ok' ? 'late-result' : 'stale-attempt'])
  },
)
