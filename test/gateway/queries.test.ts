import { readFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { NatsConnection } from '@nats-io/transport-node'
import { recordNext, encodeRecord, type AuditRecord } from '../../audit/record.ts'
import { jobIdFromMessageId } from '../../policy/job-id.ts'
import { connectBus, type Bus } from '../../gateway/bus/bus.ts'
import type { Config } from '../../gateway/config/config.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { createPending } from '../../gateway/approvals/pending.ts'
import { openTail, type Tail } from '../../gateway/queries/index-tail.ts'
import { createLog } from '../../gateway/log.ts'
import { planStreams, type StreamConfig } from '../../gateway/nats/streams.ts'
import { auditSubject } from '../../gateway/subjects.ts'
import { apiOf } from '../helpers/api.ts'
import { ask, coreWorker, testConfig, until } from '../helpers/gateway.ts'
import { asOwner, startTestNats, testLimits, type TestNats } from '../helpers/nats-server.ts'

const read = 'job.mcp-bridge.read.get_ticket'
const write = 'job.mcp-bridge.write.update_ticket'
const indexWithinMs = 20_000

describe('two gateways', () => {
  let nats: TestNats
  let config: Config
  let first: Gateway
  let second: Gateway
  let agent: NatsConnection

  beforeAll(async () => {
    nats = await startTestNats()
    config = await testConfig(nats, await readFile('deploy/policy.yaml', 'utf8'))
    first = await startGateway(config)
    second = await startGateway({ ...config, gateway: 'test-2' })
    agent = await nats.connect('demo')
    await coreWorker(nats, 'helpdesk-1', () => ({ body: '{}' }))
  })
  afterAll(async () => {
    await first.stop()
    await second.stop()
    await nats.stop()
  })

  test('each shows at once what the other was asked to do', async () => {
    const [one, two] = [apiOf(first.httpUrl), apiOf(second.httpUrl)]
    for (let round = 0; round < 10; round++) {
      const id = `round-${round}`
      const { job_id } = (
        await one('POST', '/api/v1/jobs', { topic: write, risk_tags: ['prod'], trace_id: id })
      ).body
      expect((await two('GET', `/api/v1/traces/${id}`)).body).toMatchObject({
        jobs: [{ job_id, state: 'PARKED' }],
      })
      expect((await two('GET', '/api/v1/approvals')).body).toMatchObject({ items: [{ job_id }] })
      expect((await two('POST', `/api/v1/approvals/${String(job_id)}/reject`)).status).toBe(200)
      expect((await one('GET', `/api/v1/traces/${id}`)).body).toMatchObject({
        jobs: [{ job_id, state: 'REJECTED' }],
      })
      expect((await one('GET', '/api/v1/approvals')).body).toMatchObject({ items: [] })
    }
  })

  test('whoever waits for a job at one hears of its end, wherever it was carried out', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, async (_, n) => {
        const { job_id } = await ask(agent, read, { payload: n }, `wait-${n}`)
        const url = n % 2 === 0 ? first.httpUrl : second.httpUrl
        return (await apiOf(url)('GET', `/api/v1/jobs/${job_id}?wait=25`)).body['state']
      }),
    )
    expect(new Set(answers)).toEqual(new Set(['SUCCEEDED']))
  })

  test('waiting may begin before the job is there', async () => {
    const id = jobIdFromMessageId('default', 'demo', 'not-yet')
    const waiting = apiOf(first.httpUrl)('GET', `/api/v1/jobs/${id}?wait=25`)
    const { job_id } = await ask(agent, read, {}, 'not-yet')
    expect(job_id).toBe(id)
    expect((await waiting).body).toMatchObject({ job_id, state: 'SUCCEEDED' })
  })

  test('a gateway that starts later knows everything from before', async () => {
    const { trace_id, job_id } = await ask(agent, read, { trace_id: 'before' })
    const third = await startGateway({ ...config, gateway: 'test-3' })
    try {
      expect((await apiOf(third.httpUrl)('GET', `/api/v1/traces/${trace_id}`)).body).toMatchObject({
        jobs: [{ job_id, events: [{ event: 'allowed' }, { event: 'succeeded' }] }],
      })
    } finally {
      await third.stop()
    }
  })
})

describe('the tail of AUDIT', () => {
  let nats: TestNats
  let owner: Awaited<ReturnType<typeof asOwner>>
  let bus: Bus
  const tails: Tail[] = []
  const audit = (topology: TestNats['topology']): StreamConfig =>
    planStreams(topology, testLimits).streams.find(({ name }) => name === 'AUDIT') as StreamConfig

  beforeEach(async () => {
    nats = await startTestNats({ owner: 'stays' })
    owner = await asOwner(nats)
    bus = await connectBus({
      url: nats.url,
      user: 'gateway',
      password: nats.passwords['gateway'],
      inboxPrefix: '_INBOX_gateway',
      name: 'queries.test',
    })
  })
  afterEach(async () => {
    for (const tail of tails.splice(0)) tail.close()
    await bus.close()
    await nats.stop()
  })

  const open = (): Tail => {
    const tail = openTail({ bus, log: createLog('silent', 'test'), pending: createPending() })
    tails.push(tail)
    return tail
  }
  const remake = async (change: Partial<StreamConfig>): Promise<void> => {
    await owner('$JS.API.STREAM.DELETE.AUDIT')
    await owner('$JS.API.STREAM.CREATE.AUDIT', { ...audit(nats.topology), ...change })
  }
  const append = (record: AuditRecord): ReturnType<Bus['append']> =>
    bus.append(auditSubject(record.data.job_id), encodeRecord(record), { expect: 0 })

  test('indexes a stream of thousands, and what is added while it does', async () => {
    const records = Array.from({ length: 4_000 }, (_, n) => denied(`m${n}`, `t${n % 10}`))
    for (let start = 0; start < 3_000; start += 500)
      await Promise.all(records.slice(start, start + 500).map(append))
    const tail = open()
    const reached = tail.reach(indexWithinMs)
    await Promise.all(records.slice(3_000).map(append))
    expect(await reached).toBe(true)
    expect(await tail.reach(indexWithinMs)).toBe(true)
    for (const trace of ['t0', 't9']) {
      const { values, more } = tail.index().trace('default', trace, 1_000)
      expect([values.length, more]).toEqual([400, false])
      expect(values).toEqual(values.toSorted((a, b) => a - b))
    }
    expect(tail.index().trace('default', 't3', 7)).toMatchObject({ more: true })
  })

  test('goes over a gap that the leader has, too', async () => {
    await remake({ deny_delete: false })
    for (let n = 0; n < 10; n++) await append(denied(`m${n}`, 't'))
    for (const seq of [4, 5, 9]) await owner('$JS.API.STREAM.MSG.DELETE.AUDIT', { seq })
    const tail = open()
    expect(await tail.reach(indexWithinMs)).toBe(true)
    expect(tail.index().trace('default', 't', 99).values).toEqual([1, 2, 3, 6, 7, 8, 10])
  })

  test('begins where the stream begins', async () => {
    await remake({ deny_purge: false })
    for (let n = 0; n < 10; n++) await append(denied(`m${n}`, 't'))
    await owner('$JS.API.STREAM.PURGE.AUDIT', { seq: 8 })
    const tail = open()
    expect(await tail.reach(indexWithinMs)).toBe(true)
    expect(tail.index().trace('default', 't', 99).values).toEqual([8, 9, 10])
  })

  test('begins again when the stream is another one, though its numbers are the same', async () => {
    for (let n = 0; n < 10; n++) await append(denied(`old${n}`, 'old'))
    const tail = open()
    expect(await tail.reach(indexWithinMs)).toBe(true)
    await remake({})
    for (let n = 0; n < 10; n++) await append(denied(`new${n}`, 'new'))
    expect(await tail.reach(indexWithinMs)).toBe(true)
    expect(tail.index().trace('default', 'old', 99).values).toEqual([])
    expect(tail.index().trace('default', 'new', 99).values).toHaveLength(10)
  })

  test('takes what this gateway wrote without reading it, in order, and never twice', async () => {
    const tail = open()
    expect(await tail.reach(indexWithinMs)).toBe(true)
    const records = Array.from({ length: 20 }, (_, n) => denied(`m${n}`, 't'))
    const positions: { sequence: number; record: AuditRecord }[] = []
    for (const record of records) {
      const appended = await append(record)
      if (appended.type === 'stored') positions.push({ sequence: appended.sequence, record })
    }
    // The third is somebody else's, and acknowledgements come in any order.
    for (const at of positions.filter((_, n) => n !== 2).toReversed()) tail.appended(at)
    expect(await tail.reach(indexWithinMs)).toBe(true)
    for (const at of positions) tail.appended(at)
    expect(tail.index().trace('default', 't', 99).values).toEqual(positions.map(({ sequence }) => sequence))
  })

  test('waits for the bus when it is away and goes on by itself', async () => {
    await append(denied('m1', 't'))
    const tail = open()
    expect(await tail.reach(indexWithinMs)).toBe(true)
    await nats.kill9()
    await until(() => !bus.connected())
    await nats.restart()
    await until(() => bus.connected())
    await append(denied('m2', 't'))
    await until(() => tail.index().trace('default', 't', 99).values.length === 2)
  })
})

/** A record as a gateway would write it for a job that it denies. */
function denied(messageId: string, trace: string): AuditRecord {
  const record = recordNext({
    gateway: 'test',
    cause: messageId,
    nowMs: Date.now(),
    last: {
      job_id: jobIdFromMessageId('default', 'demo', messageId),
      tenant: 'default',
      topic: read,
      trace_id: trace,
      actor: { type: 'agent', id: 'demo', auth: 'nats' },
      job_hash: 'h',
      hash_key: '1',
      payload: { bytes: 2 },
      received_at: new Date().toISOString(),
    },
    event: {
      event: 'denied',
      decision: {
        type: 'DENY',
        rule_id: 'r',
        reason: 'no',
        policy_snapshot: 's',
        constraints: null,
        matched: [],
      },
      evidence: { policy: { source_hash: 'p' }, evaluator: { name: 'sluice', version: '1' } },
    },
  })
  if (record === undefined) throw new Error('a new job can be denied')
  return record
}
