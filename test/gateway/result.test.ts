import { afterAll, beforeAll, expect, test } from 'vitest'
import { headers, type Msg, type NatsConnection } from '@nats-io/transport-node'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { answerJob, ask, readAudit, readJob, testConfig, until } from '../helpers/gateway.ts'

const policy = `version: v1
rules:
  - id: free
    match: { topics: ["job.free.*"] }
    decision: allow
  - id: two-tries
    match: { topics: ["job.tries.*"] }
    decision: allow_with_constraints
    constraints: { max_runtime_sec: 1, max_retries: 1 }
  - id: small
    match: { topics: ["job.small.*"] }
    decision: allow_with_constraints
    constraints: { max_output_bytes: 10 }
  - id: hosts
    match: { topics: ["job.hosts.*"] }
    decision: allow_with_constraints
    constraints: { allow_hosts: ["a.internal"] }
`

let nats: TestNats
let gateway: Gateway
let agent: NatsConnection
let worker: NatsConnection
/** Every dispatch the worker got, and how the next ones are answered. */
const seen: Msg[] = []
let work: (job: Msg) => void = () => undefined

beforeAll(async () => {
  nats = await startTestNats()
  gateway = await startGateway(await testConfig(nats, policy))
  agent = await nats.connect('demo')
  worker = await nats.connect('helpdesk-1')
  worker.subscribe('worker.helpdesk.>', {
    queue: 'helpdesk',
    callback: (_e, job) => {
      seen.push(job)
      work(job)
    },
  })
  await worker.flush()
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

const ended = (job: string): ReturnType<typeof readJob> =>
  until(async () => {
    const records = await readJob(nats, job)
    return records.at(-1)?.data.terminal !== undefined && records
  })
const beside = async (job: string): Promise<string[]> =>
  (await readAudit(nats))
    .filter(({ subject }) => subject === `audit._refused.${job}`)
    .map(({ record }) => (record.data as unknown as { refuse: string }).refuse)

test('an attempt past its limit is cut by the gateway, tried again once, then the job is TIMED_OUT', async () => {
  work = () => undefined
  const { job_id } = await ask(agent, 'job.tries.hang', {})
  const records = await ended(job_id)
  expect(records.map(({ data }) => data.event)).toEqual(['allowed', 'retried', 'timed_out'])
  expect(records[2]?.data).toMatchObject({
    limit: 'max_runtime_sec',
    terminal: { status: 'TIMED_OUT', events: 3 },
  })
  const mine = seen.filter((job) => job.headers?.get('Sluice-Job') === job_id)
  expect(mine.map((job) => job.headers?.get('Sluice-Attempt'))).toEqual(['1', '2'])

  for (const job of mine) answerJob(worker, 'helpdesk-1', job, '{}')
  await until(async () => (await beside(job_id)).length === 2)
  expect(await beside(job_id)).toEqual(['late-result', 'late-result'])
  expect(await readJob(nats, job_id)).toHaveLength(3)
})

test('an error result uses an attempt; the last one is the job’s failure', async () => {
  work = (job) => answerJob(worker, 'helpdesk-1', job, '{"error":"no such ticket"}', 'error')
  const { job_id } = await ask(agent, 'job.tries.fail', {})
  const records = await ended(job_id)
  expect(records.map(({ data }) => data.event)).toEqual(['allowed', 'retried', 'failed'])
})

test('a result with a wrong token, of an old attempt or from another pool never counts', async () => {
  work = () => undefined
  const { job_id } = await ask(agent, 'job.free.forge', {})
  const job = await until(() => seen.find((one) => one.headers?.get('Sluice-Job') === job_id))
  const forged = headers()
  forged.set('Sluice-Attempt', '1')
  forged.set('Sluice-Result-Token', 'f'.repeat(64))
  worker.publish(`result.helpdesk-1.${job_id}`, '{}', { headers: forged })
  const old = headers()
  old.set('Sluice-Attempt', '7')
  old.set('Sluice-Result-Token', job.headers?.get('Sluice-Result-Token') ?? '')
  worker.publish(`result.helpdesk-1.${job_id}`, '{}', { headers: old })
  const other = await nats.connect('exec-1')
  answerJob(other, 'exec-1', job, '{"forged":true}')
  await until(async () => (await beside(job_id)).length === 3)
  expect((await beside(job_id)).toSorted()).toEqual(['bad-token', 'stale-attempt', 'wrong-pool'])
  answerJob(worker, 'helpdesk-1', job, '{"real":true}')
  expect((await ended(job_id)).map(({ data }) => data.event)).toEqual(['allowed', 'succeeded'])
})

test('a thousand forged results are counted, recorded only up to a bound, and the true one counts after them', async () => {
  work = () => undefined
  const { job_id } = await ask(agent, 'job.free.flood', {})
  const job = await until(() => seen.find((one) => one.headers?.get('Sluice-Job') === job_id))
  const counted = async (): Promise<number> => {
    const text = await (await fetch(`${gateway.httpUrl}/metrics`)).text()
    const all = [...text.matchAll(/^sluice_bypass_attempts_total\S* (\d+)$/gm)]
    return all.reduce((sum, [, count]) => sum + Number(count), 0)
  }
  const before = await counted()
  const forger = await nats.connect('helpdesk-2')
  const forged = headers()
  forged.set('Sluice-Attempt', '1')
  forged.set('Sluice-Result-Token', 'f'.repeat(64))
  for (let n = 0; n < 1_000; n++) forger.publish(`result.helpdesk-2.${job_id}`, '{}', { headers: forged })
  await forger.flush()
  answerJob(worker, 'helpdesk-1', job, '{"real":true}')
  expect((await ended(job_id)).map(({ data }) => data.event)).toEqual(['allowed', 'succeeded'])
  await until(async () => (await counted()) === before + 1_000)
  const recorded = (await beside(job_id)).length
  expect(recorded).toBeGreaterThanOrEqual(100)
  expect(recorded).toBeLessThan(500)
})

test('a payment card is redacted, a private key is withheld, and the findings do not repeat them', async () => {
  const card = ['4111', '1111', '1111', '1111'].join(' ')
  const outputs: string[] = []
  agent.subscribe('output.>', { callback: (_e, m) => void outputs.push(m.string()) })
  await agent.flush()
  work = (job) => answerJob(worker, 'helpdesk-1', job, `{"note":"paid with ${card}"}`)
  const redacted = await ask(agent, 'job.free.card', {})
  const [, succeeded] = await ended(redacted.job_id)
  expect(succeeded?.data.result).toMatchObject({ action: 'redact', status: 'ok' })
  await until(() => outputs.length > 0)
  expect(outputs[0]).not.toContain('1111 1111')

  const pem = [`-----BEGIN ${'PRIVATE'} KEY-----`, 'A'.repeat(64), `-----END ${'PRIVATE'} KEY-----`].join(
    '\n',
  )
  work = (job) => answerJob(worker, 'helpdesk-1', job, JSON.stringify({ pem }))
  const withheld = await ask(agent, 'job.free.key', {})
  const records = await until(async () => {
    const found = await readJob(nats, withheld.job_id)
    return found.length === 2 && found
  })
  expect(records[1]?.data).toMatchObject({ event: 'quarantined', state: { to: 'QUARANTINED' } })
  const trail = JSON.stringify(await readAudit(nats))
  expect(trail).not.toMatch(/1111 ?1111/)
  expect(trail).not.toContain('A'.repeat(64))
  expect(outputs.join()).not.toContain('A'.repeat(64))
})

test('an output over its limit is a failure, and a worker that does not echo its hosts is not believed', async () => {
  work = (job) => answerJob(worker, 'helpdesk-1', job, 'x'.repeat(11))
  const large = await ask(agent, 'job.small.x', {})
  expect((await ended(large.job_id)).at(-1)?.data).toMatchObject({
    event: 'failed',
    limit: 'max_output_bytes',
  })

  work = (job) => {
    const partial = headers()
    for (const name of ['Sluice-Attempt', 'Sluice-Result-Token'])
      partial.set(name, job.headers?.get(name) ?? '')
    worker.publish(`result.helpdesk-1.${job.headers?.get('Sluice-Job') ?? ''}`, '{}', { headers: partial })
  }
  const silent = await ask(agent, 'job.hosts.x', {})
  await until(async () => (await readJob(nats, silent.job_id)).at(-1)?.data.state.to === 'QUARANTINED')
  work = (job) => answerJob(worker, 'helpdesk-1', job, '{}')
  const honest = await ask(agent, 'job.hosts.y', {})
  expect((await ended(honest.job_id)).at(-1)?.data.event).toBe('succeeded')
})

test('a job whose time is over is told to the workers of its pool', async () => {
  const told: string[] = []
  worker.subscribe('cancel.helpdesk-1.>', { callback: (_e, m) => void told.push(m.subject) })
  await worker.flush()
  work = () => undefined
  const { job_id } = await ask(agent, 'job.tries.hang', {})
  await ended(job_id)
  await until(() => told.length > 0)
  expect(told).toEqual([`cancel.helpdesk-1.${job_id}`])
})

test("a job's own deadline ends it, and the record says which limit it was", async () => {
  work = () => undefined
  const { job_id } = await ask(agent, 'job.free.x', { deadline: new Date(Date.now() + 700).toISOString() })
  expect((await ended(job_id)).at(-1)?.data).toMatchObject({ event: 'timed_out', limit: 'deadline' })
})
