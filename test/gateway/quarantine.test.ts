import { afterAll, beforeAll, expect, test } from 'vitest'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import type { Config } from '../../gateway/config/config.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { ask, coreWorker, readJob, testConfig, until, type Asked } from '../helpers/gateway.ts'

const policy = `version: v1
rules:
  - id: free
    match: { topics: ["job.free.*"] }
    decision: allow
    output: { quarantine: [payment-card] }
`
let nats: TestNats
let config: Config

beforeAll(async () => {
  nats = await startTestNats()
  config = await testConfig(nats, policy, { quarantineExpiresSec: 2 })
  const card = ['4111', '1111', '1111', '1111'].join(' ')
  await coreWorker(nats, 'helpdesk-1', () => ({ body: JSON.stringify({ card }) }))
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
  const job = await keptBack(first)
  const control = (path: string, body: object, url: string): Promise<Response> =>
    fetch(`${url}/api/v1/control/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  const stopped = await control('stop', { scope: { kind: 'all' }, reason: 'x' }, first.httpUrl)
  const { id } = (await stopped.json()) as { id: string }
  await first.stop()
  const second = await startGateway(config)
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  expect((await last(job))?.state.to).toBe('QUARANTINED')
  await control('resume', { id, stage: 'resumed', reason: 'x' }, second.httpUrl)
  await until(async () => (await last(job))?.terminal?.status === 'EXPIRED')
  await second.stop()
})
