import type { Msg } from '@nats-io/transport-node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import type { Config } from '../../gateway/config/config.ts'
import { leftOver } from '../crash/streams.ts'
import { asOwner, startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { answerJob, ask, coreWorker, readJob, testConfig, until, type Asked } from '../helpers/gateway.ts'

const policy = `version: v1
rules:
  - id: free
    match: { topics: ["job.free.*"] }
    decision: allow
    output: { quarantine: [payment-card] }
`
let nats: TestNats
let config: Config
/** While this holds, the worker takes jobs and does not answer. */
let silent = false
let seen: readonly Msg[]
const output = JSON.stringify({ card: ['4111', '1111', '1111', '1111'].join(' ') })

beforeAll(async () => {
  nats = await startTestNats({ owner: 'stays' })
  config = await testConfig(nats, policy, { quarantineExpiresSec: 2 })
  ;({ seen } = await coreWorker(nats, 'helpdesk-1', () => (silent ? undefined : { body: output })))
})
afterAll(() => nats.stop())

const last = async ({ job_id }: Asked) => (await readJob(nats, job_id)).at(-1)?.data
const keptBack = async (gateway: Gateway): Promise<Asked> => {
  const job = await ask(await nats.connect('demo'), 'job.free.x', {})
  await until(async () => (await last(job))?.state.to === 'QUARANTINED')
  expect(gateway.httpUrl).not.toBe('')
  return job
}

test('an output that nobody looked at ends its job when its time is over, and stays where security staff reads it', async () => {
  const gateway = await startGateway(config)
  const agent = await nats.connect('demo')
  const told: string[] = []
  agent.subscribe('decision.>', {
    callback: (_e, message) => void told.push(message.headers?.get('Sluice-State') ?? ''),
  })
  await agent.flush()
  const job = await keptBack(gateway)
  const quarantined = await last(job)
  await until(async () => (await last(job))?.terminal?.status === 'EXPIRED')
  const expired = (await readJob(nats, job.job_id)).at(-1)
  expect(expired?.data).toMatchObject({ event: 'expired', limit: 'quarantine', terminal: { events: 3 } })
  expect(Date.parse(expired?.time ?? '')).toBeGreaterThanOrEqual(
    Date.parse(quarantined?.quarantine?.expires_at ?? ''),
  )
  await until(() => told.includes('EXPIRED'))
  const reader = await nats.connect('gateway')
  const kept = await reader.request(
    '$JS.API.STREAM.MSG.GET.QUARANTINE',
    JSON.stringify({ last_by_subj: `gov.quarantine.${job.job_id}` }),
  )
  expect(kept.json()).toHaveProperty('message')
  await gateway.stop()
})

test('it ends after its gateway is gone as well, and not while a stop holds it', async () => {
  const first = await startGateway(config)
  silent = true
  const job = await ask(await nats.connect('demo'), 'job.free.x', {})
  const taken = await until(() => seen.find(({ headers }) => headers?.get('Sluice-Job') === job.job_id))
  silent = false
  const control = (path: string, body: object, url: string): Promise<Response> =>
    fetch(`${url}/api/v1/control/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  const stopped = await control('stop', { scope: { kind: 'all' }, reason: 'x' }, first.httpUrl)
  const { id } = (await stopped.json()) as { id: string }
  // Under the stop, so that however slow this machine is the time has not run out before.
  answerJob(await nats.connect('helpdesk-1'), 'helpdesk-1', taken, output)
  await until(async () => (await last(job))?.state.to === 'QUARANTINED')
  await first.stop()
  const second = await startGateway(config)
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  expect((await last(job))?.state.to).toBe('QUARANTINED')
  await control('resume', { id, stage: 'resumed', reason: 'x' }, second.httpUrl)
  await until(async () => (await last(job))?.terminal?.status === 'EXPIRED')
  await second.stop()
})

test('a gateway that dies once it has kept an output back leaves one copy of it, whoever does it again', async () => {
  let dead = false
  const dying = await startGateway(config, {
    bus: (bus) => ({
      ...bus,
      append: async (subject, ...rest) => {
        const appended = await bus.append(subject, ...rest)
        if (!subject.startsWith('gov.quarantine.') || dead) return appended
        dead = true
        throw new Error('died')
      },
    }),
  })
  // It tries again itself, as another one would.
  const job = await keptBack(dying)
  await until(async () => (await last(job))?.terminal !== undefined)
  const api = await asOwner(nats)
  await until(async () => Object.keys(await leftOver(api, /^RESULTS_/)).length === 0)
  const info = await api('$JS.API.STREAM.INFO.QUARANTINE', {
    subjects_filter: `gov.quarantine.${job.job_id}`,
  })
  expect((info['state'] as { subjects: object }).subjects).toEqual({ [`gov.quarantine.${job.job_id}`]: 1 })
  await dying.stop()
})
