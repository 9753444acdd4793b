import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { jobBytesMax } from '../../policy/job.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { apiOf, type ApiCall } from '../helpers/api.ts'
import { coreWorker, readAudit, readJob, testConfig } from '../helpers/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'

const read = 'job.mcp-bridge.read.get_ticket'
const write = 'job.mcp-bridge.write.update_ticket'

let nats: TestNats
let gateway: Gateway
let api: ApiCall

beforeAll(async () => {
  nats = await startTestNats()
  const policy = `${await readFile('deploy/policy.yaml', 'utf8')}
  - id: slow-lane
    match:
      topics: ["job.agent.slow.*"]
    decision: throttle
    throttle: { rate: 1, per: 1h, max_wait: 1h }
`
  gateway = await startGateway(await testConfig(nats, policy))
  api = apiOf(gateway.httpUrl)
  const outputs: Record<string, Uint8Array | string> = {
    'T-text': 'plain words',
    'T-bytes': new Uint8Array([0xff, 0xfe, 0x00]),
    'T-empty': '',
  }
  await coreWorker(nats, 'helpdesk-1', (job) => {
    const { payload } = job.json<{ payload?: { id?: string; fail?: boolean } }>()
    if (payload?.fail === true) return { body: 'could not', status: 'error' }
    return { body: outputs[payload?.id ?? ''] ?? JSON.stringify({ done: payload?.id ?? null }) }
  })
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

const submit = (body: unknown, headers?: Record<string, string>, query = ''): ReturnType<ApiCall> =>
  api('POST', `/api/v1/jobs${query}`, body, headers)
const atRest = (id: unknown): ReturnType<ApiCall> => api('GET', `/api/v1/jobs/${String(id)}?wait=20`)

describe('submitting', () => {
  test('a job is answered with its decision, runs, and its result is there to read', async () => {
    const answer = await submit({ topic: read, payload: { id: 'T-1' } })
    expect(answer.status).toBe(202)
    expect(answer.body).toMatchObject({
      state: 'DISPATCHED',
      next: 'wait',
      decision: { type: 'ALLOW', rule_id: 'allow-low-risk-read', constraints: null },
    })
    expect(answer.headers.get('location')).toBe(`/api/v1/jobs/${String(answer.body['job_id'])}`)
    const job = await atRest(answer.body['job_id'])
    expect(job.body).toMatchObject({
      job_id: answer.body['job_id'],
      trace_id: answer.body['trace_id'],
      job_hash: answer.body['job_hash'],
      decision: answer.body['decision'],
      state: 'SUCCEEDED',
      topic: read,
      tenant: 'default',
      actor: 'demo',
      attempts: 1,
      constraints: null,
      next: 'stop',
      result: {
        status: 'ok',
        action: 'pass',
        body: { done: 'T-1' },
        encoding: 'json',
        findings: [],
        worker: 'helpdesk-1',
      },
    })
  })

  test.each([
    ['T-text', 'plain words', 'text'],
    ['T-empty', '', 'text'],
  ])('an output that is not JSON (%s) is shown as %j', async (id, body, encoding) => {
    const answer = await submit({ topic: read, payload: { id } })
    expect((await atRest(answer.body['job_id'])).body['result']).toMatchObject({ body, encoding })
  })

  test('the bytes are kept as they came: the job hash is over them and the worker gets them', async () => {
    const worker = await nats.connect('helpdesk-2')
    const seen: string[] = []
    worker.subscribe('worker.helpdesk.>', {
      queue: 'helpdesk',
      callback: (_error, job) => void seen.push(job.string()),
    })
    await worker.flush()
    const bytes = `{ "topic":"${read}",\n  "payload": {"b":1,"a":1.50} }`
    // The queue group gives each job to one of the two workers.
    while (!seen.includes(bytes)) await submit(bytes)
    await worker.close()
    expect(seen).toContain(bytes)
  })

  test('a denied job is a 202 with the rule, and with strict=true a 403', async () => {
    const job = { topic: read, risk_tags: ['destructive'] }
    const answer = await submit(job)
    expect(answer.status).toBe(202)
    expect(answer.body).toMatchObject({
      state: 'DENIED',
      next: 'stop',
      decision: { rule_id: 'deny-destructive' },
    })
    const strict = await submit(job, {}, '?strict=true')
    expect(strict.status).toBe(403)
    expect(strict.type).toBe('application/problem+json')
    expect(strict.body).toMatchObject({
      status: 403,
      code: 'denied',
      state: 'DENIED',
      decision: { type: 'DENY' },
    })
    expect(await readJob(nats, String(strict.body['job_id']))).toHaveLength(1)
  })

  test('a throttled job is a 202 that says when, and with strict=true a 429 with Retry-After', async () => {
    const job = { topic: 'job.agent.slow.one' }
    expect((await submit(job)).body).toMatchObject({ state: 'DISPATCHED' })
    const answer = await submit(job)
    expect(answer.status).toBe(202)
    expect(answer.body).toMatchObject({
      state: 'THROTTLED',
      decision: { type: 'THROTTLE', rule_id: 'slow-lane' },
    })
    expect(answer.body['retry_after_ms']).toBeGreaterThan(0)
    const strict = await submit(job, {}, '?strict=true')
    expect(strict.status).toBe(429)
    expect(Number(strict.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(strict.body).toMatchObject({ code: 'throttled', state: 'THROTTLED' })
  })

  test('the same idempotency key is one job, and other bytes under it are refused', async () => {
    const key = { 'Idempotency-Key': 'order-17' }
    const first = await submit({ topic: read, payload: { id: 'T-1' } }, key)
    const again = await submit({ topic: read, payload: { id: 'T-1' } }, key)
    expect(again.status).toBe(202)
    expect(again.body['job_id']).toBe(first.body['job_id'])
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    const other = await submit({ topic: read, payload: { id: 'T-2' } }, key)
    expect(other.status).toBe(409)
    expect(other.body).toMatchObject({ code: 'idempotency_conflict', job_id: first.body['job_id'] })
  })

  test('without a key the same body twice is two jobs', async () => {
    const [first, second] = [await submit({ topic: read }), await submit({ topic: read })]
    expect(first.body['job_id']).not.toBe(second.body['job_id'])
  })
})

describe('what cannot be read is a problem and no job', () => {
  const valid = { topic: read }
  test.each<[string, unknown, Record<string, string>, string, number, string, RegExp]>([
    ['no JSON', '{"topic":', {}, '', 400, 'invalid_json', /line 1/],
    ['an empty body', '', {}, '', 400, 'invalid_json', /./],
    ['a list', [valid], {}, '', 400, 'invalid', /object/],
    ['a key twice', `{"topic":"${read}","topic":"${read}"}`, {}, '', 400, 'invalid_json', /topic/],
    ['no topic', { payload: 1 }, {}, '', 400, 'invalid_job', /"topic" is required/],
    ['a topic that is no text', { topic: 7 }, {}, '', 400, 'invalid_job', /topic/],
    ['a topic without job.', { topic: 'mcp.read' }, {}, '', 400, 'invalid_job', /"job\."/],
    ['a wildcard in the topic', { topic: 'job.a.*' }, {}, '', 400, 'invalid_job', /token 2/],
    [
      'a topic of 4,000 characters',
      { topic: `job.${'a.'.repeat(2000)}b` },
      {},
      '',
      400,
      'invalid_job',
      /longer/,
    ],
    [
      'a misspelt key',
      { ...valid, risk_tag: ['prod'] },
      {},
      '',
      400,
      'invalid_job',
      /did you mean "risk_tags"/,
    ],
    [
      'a __proto__ label',
      `{"topic":"${read}","labels":{"__proto__":"x"}}`,
      {},
      '',
      400,
      'invalid_job',
      /__proto__/,
    ],
    ["another's tenant", { ...valid, tenant_id: 'acme' }, {}, '', 403, 'identity_mismatch', /tenant_id/],
    [
      'a form',
      'topic=x',
      { 'Content-Type': 'application/x-www-form-urlencoded' },
      '',
      415,
      'unsupported_media_type',
      /json/,
    ],
    [
      'text',
      JSON.stringify(valid),
      { 'Content-Type': 'text/plain' },
      '',
      415,
      'unsupported_media_type',
      /json/,
    ],
    [
      'another charset',
      JSON.stringify(valid),
      { 'Content-Type': 'application/json; charset=latin1' },
      '',
      415,
      'unsupported_media_type',
      /json/,
    ],
    ['too much', { ...valid, payload: 'x'.repeat(jobBytesMax) }, {}, '', 413, 'payload_too_large', /262144/],
    ['a key with a space', valid, { 'Idempotency-Key': 'a b' }, '', 400, 'invalid', /Idempotency-Key/],
    ['strict=maybe', valid, {}, '?strict=maybe', 400, 'invalid', /strict/],
  ])('%s', async (_name, body, headers, query, status, code, detail) => {
    const before = (await readAudit(nats)).length
    const answer = await submit(body, headers, query)
    expect(answer.status).toBe(status)
    expect(answer.type).toBe('application/problem+json')
    expect(answer.body).toMatchObject({ status, code, title: expect.any(String) as string })
    expect(answer.body['detail']).toMatch(detail)
    const after = await readAudit(nats)
    expect(after.slice(before).filter(({ record }) => record.type === 'sluice.decision.v1')).toEqual([])
  })

  test('a body of exactly the limit is a job', async () => {
    const frame = JSON.stringify({ topic: read, payload: '' }).length
    const answer = await submit({ topic: read, payload: 'x'.repeat(jobBytesMax - frame) })
    expect(answer.body).toMatchObject({ state: 'DISPATCHED' })
  })

  test.each([
    ['is a job within the limit', 1, 202],
    ['is cut off at the limit', 8, 413],
  ])('a body without a length %s', async (_what, chunksMax, status) => {
    const encoder = new TextEncoder()
    const parts = [
      `{"topic":"${read}","payload":"`,
      ...Array.from({ length: chunksMax }, () => 'x'.repeat(65_536)),
      '"}',
    ]
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        const part = parts.shift()
        if (part === undefined) controller.close()
        else controller.enqueue(encoder.encode(part))
      },
    })
    const options = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body, duplex: 'half' }
    const response = await fetch(`${gateway.httpUrl}/api/v1/jobs`, options as RequestInit)
    expect(response.status).toBe(status)
  })
})

describe('looking at a job', () => {
  test.each(['<job_id>', 'nonsense', 'default.short', '%00', 'default.m0000000000000000000000000000000'])(
    'an id that no job has (%s) is a 404 with a hint',
    async (id) => {
      const answer = await api('GET', `/api/v1/jobs/${encodeURIComponent(id)}`)
      expect(answer.status).toBe(404)
      expect(answer.body).toMatchObject({ code: 'not_found' })
    },
  )

  test('a denied job has no attempts and no result', async () => {
    const answer = await submit({ topic: 'job.unknown.topic' })
    const job = await api('GET', `/api/v1/jobs/${String(answer.body['job_id'])}`)
    expect(job.body).toMatchObject({ state: 'DENIED', attempts: 0, result: null, next: 'ask_human' })
  })

  test('a failed job says so, keeps its attempt and shows what its worker said', async () => {
    const answer = await submit({ topic: read, payload: { fail: true } })
    const job = await atRest(answer.body['job_id'])
    expect(job.body).toMatchObject({
      state: 'FAILED',
      attempts: 1,
      result: { status: 'error', body: 'could not', encoding: 'text', findings: [] },
    })
  })

  test('a wait that is not a number of seconds is refused', async () => {
    const answer = await submit({ topic: 'job.unknown.topic' })
    for (const wait of ['x', '-1', '61', '1.5'])
      expect((await api('GET', `/api/v1/jobs/${String(answer.body['job_id'])}?wait=${wait}`)).status).toBe(
        400,
      )
  })
})

describe('cancelling', () => {
  test('a parked job ends, and the note is on record', async () => {
    const parked = await submit({ topic: write, risk_tags: ['prod'] })
    const id = String(parked.body['job_id'])
    const done = await api('POST', `/api/v1/jobs/${id}/cancel`, { note: 'not needed' })
    expect(done.status).toBe(200)
    expect(done.body).toMatchObject({
      job_id: id,
      state: 'CANCELLED',
      resolution: { decision: 'cancel', by: 'demo-approver', note: 'not needed' },
    })
    expect((await api('GET', `/api/v1/jobs/${id}`)).body).toMatchObject({
      state: 'CANCELLED',
      by: 'demo-approver',
      note: 'not needed',
    })
    const again = await api('POST', `/api/v1/jobs/${id}/cancel`)
    expect(again.status).toBe(409)
    expect(again.body).toMatchObject({ code: 'not_cancellable', state: 'CANCELLED' })
  })
})
