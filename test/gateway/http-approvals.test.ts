import { readFile, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Config } from '../../gateway/config/config.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { apiOf, type ApiAnswer, type ApiCall } from '../helpers/api.ts'
import { coreWorker, readJob, testConfig, until } from '../helpers/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'

const write = 'job.mcp-bridge.write.update_ticket'
const prod = { topic: write, risk_tags: ['prod'], labels: { 'mcp.action': 'write' }, payload: { id: 'T-1' } }

type Item = Record<string, unknown> & { job_id: string; job: Record<string, unknown> }

let nats: TestNats
let config: Config
let gateway: Gateway
let api: ApiCall
let policy: string

beforeAll(async () => {
  nats = await startTestNats()
  policy = await readFile('deploy/policy.yaml', 'utf8')
  config = await testConfig(nats, policy)
  gateway = await startGateway(config)
  api = apiOf(gateway.httpUrl)
  await coreWorker(nats, 'helpdesk-1', () => ({ body: '{}' }))
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

const park = async (more: object = {}): Promise<string> =>
  String(
    (await api('POST', '/api/v1/jobs', { ...prod, ...more }, { 'Idempotency-Key': crypto.randomUUID() }))
      .body['job_id'],
  )
const resolve = (
  job: string,
  decision: 'approve' | 'reject',
  body?: unknown,
  headers?: Record<string, string>,
): Promise<ApiAnswer> => api('POST', `/api/v1/approvals/${job}/${decision}`, body, headers)
const list = async (query = ''): Promise<{ items: Item[]; next_cursor: string | null }> =>
  (await api('GET', `/api/v1/approvals${query}`)).body as unknown as {
    items: Item[]
    next_cursor: string | null
  }
const itemOf = async (job: string, query = ''): Promise<Item | undefined> =>
  (await list(query)).items.find(({ job_id }) => job_id === job)

describe('the three calls of the mission', () => {
  test('as they stand, with only the id filled in: the job waits, is approved and ends SUCCEEDED', async () => {
    const script = await readFile('examples/approval-ops.sh', 'utf8')
    const call = (line: string): { url: string; body: string | undefined } => ({
      url: /(http:\S+?)"?(?=\s|$)/.exec(line)?.[1] ?? '',
      body: /-d '([^']*)'/s.exec(line)?.[1],
    })
    const [submit, look, approve] = script
      .split(/^# .*$/m)
      .slice(1)
      .map(call)
    const path = (url = ''): string => new URL(url).pathname + new URL(url).search
    const parked = await api('POST', path(submit?.url), submit?.body)
    expect(parked.body).toMatchObject({
      state: 'PARKED',
      decision: { rule_id: 'require-approval-prod-write' },
    })
    const waiting = (await api('GET', path(look?.url))).body['items'] as Item[]
    const job = waiting.find(({ job_id }) => job_id === parked.body['job_id'])?.job_id ?? ''
    const approved = await api('POST', path(approve?.url.replace('<job_id>', job)), approve?.body)
    expect(approved.status).toBe(200)
    expect(approved.body).toMatchObject({
      job_id: job,
      trace_id: parked.body['trace_id'],
      resolution: {
        decision: 'approve',
        by: 'demo-approver',
        note: 'approved after policy review',
        binding: 'server',
      },
    })
    expect((await api('GET', `/api/v1/jobs/${job}?wait=20`)).body).toMatchObject({ state: 'SUCCEEDED' })
  })

  test('the placeholder left in its place is a 404 that says what to do', async () => {
    const answer = await api('POST', '/api/v1/approvals/<job_id>/approve', { note: 'x' })
    expect(answer.status).toBe(404)
    expect(answer.body['detail']).toMatch(/placeholder/)
  })
})

describe('the list', () => {
  test('an item says what would run, who asks and why it is asked', async () => {
    const job = await park({ tenant_id: 'default', trace_id: 'list-1' })
    const item = await itemOf(job, '?include_resolved=false')
    const [record] = await readJob(nats, job)
    expect(item).toEqual({
      job_id: job,
      job: {
        id: job,
        topic: write,
        tenant: 'default',
        actor: 'demo',
        payload: { id: 'T-1' },
        risk_tags: ['prod'],
        labels: { 'mcp.action': 'write' },
      },
      trace_id: 'list-1',
      state: 'PARKED',
      reason: 'Production writes require human review',
      rule_id: 'require-approval-prod-write',
      constraints: null,
      job_hash: record?.data.job_hash,
      policy_snapshot: record?.data.decision.policy_snapshot,
      requested_at: record?.data.approval?.requested_at,
      expires_at: record?.data.approval?.expires_at,
      level: 'normal',
      demands: record?.data.approval?.demands,
      votes: [],
      lacks: {
        persons: 1,
        rules: [
          {
            rule: 'require-approval-prod-write',
            thresholds: [{ from: { kind: 'anyone', names: [] }, approve: 1 }],
          },
        ],
      },
    })
    expect((await api('GET', `/api/v1/approvals/${job}`)).body).toEqual(item)
  })

  test('a job without a payload is shown with null', async () => {
    const job = await park({ payload: undefined })
    expect((await itemOf(job))?.job['payload']).toBeNull()
  })

  test('what is resolved leaves the list, and is in the one that includes it, newest first', async () => {
    const [first, second] = [await park(), await park()]
    await resolve(first, 'approve', { note: 'fine' })
    await resolve(second, 'reject', { note: 'not fine' })
    expect(await itemOf(first)).toBeUndefined()
    expect(await itemOf(second)).toBeUndefined()
    const { items } = await list('?include_resolved=true')
    const resolved = items.filter((item) => item['resolved_at'] !== undefined)
    expect(resolved.slice(0, 2)).toMatchObject([
      {
        job_id: second,
        state: 'REJECTED',
        resolution: { decision: 'reject', note: 'not fine' },
        job: { payload: null },
      },
      { job_id: first, resolution: { decision: 'approve', note: 'fine' } },
    ])
    expect((await api('GET', `/api/v1/approvals/${second}`)).body).toMatchObject({
      job_id: second,
      state: 'REJECTED',
    })
  })

  test('pages go through everything once, those that wait first', async () => {
    for (let count = 0; count < 5; count++) await park()
    const all = (await list('?include_resolved=true&limit=500')).items.map(({ job_id }) => job_id)
    const paged: string[] = []
    let cursor: string | null = null
    do {
      const page: Awaited<ReturnType<typeof list>> = await list(
        `?include_resolved=true&limit=3${cursor === null ? '' : `&cursor=${cursor}`}`,
      )
      expect(page.items.length).toBeLessThanOrEqual(3)
      paged.push(...page.items.map(({ job_id }) => job_id))
      cursor = page.next_cursor
    } while (cursor !== null)
    expect(paged).toEqual(all)
    expect(new Set(paged).size).toBe(paged.length)
  })

  test.each(['?limit=0', '?limit=501', '?limit=x', '?cursor=q7', '?cursor=p', '?include_resolved=perhaps'])(
    'a question that makes no sense (%s) is refused',
    async (query) => {
      const answer = await api('GET', `/api/v1/approvals${query}`)
      expect(answer.status).toBe(400)
      expect(answer.body['code']).toBe('invalid')
    },
  )

  test('a job that never asked for approval has none', async () => {
    const denied = await api('POST', '/api/v1/jobs', { topic: 'job.unknown.x' })
    expect((await api('GET', `/api/v1/approvals/${String(denied.body['job_id'])}`)).status).toBe(404)
  })
})

describe('deciding', () => {
  test('reason is another name of note', async () => {
    const done = await resolve(await park(), 'reject', { reason: 'too risky' })
    expect(done.body).toMatchObject({ state: 'REJECTED', resolution: { note: 'too risky' } })
  })

  test('no body at all is a decision without a note', async () => {
    const done = await resolve(await park(), 'reject')
    expect(done.body).toMatchObject({ state: 'REJECTED', resolution: { note: '' } })
  })

  test('a refused decision is counted once, however often its command is delivered', async () => {
    const gate = await nats.connect('gateway')
    const counted = async (): Promise<number> => {
      const line = /^sluice_refused_total{code="stale_binding"} (\d+)$/m
      return Number(line.exec((await api('GET', '/metrics')).text)?.[1] ?? 0)
    }
    const settled = async (): Promise<boolean> => {
      const info = await gate.request('$JS.API.STREAM.INFO.COMMANDS')
      return info.json<{ state: { messages: number } }>().state.messages === 0
    }
    const before = await counted()
    expect((await resolve(await park(), 'approve', { job_hash: '0000' })).status).toBe(409)
    await until(settled)
    expect(await counted()).toBe(before + 1)
  })

  test('what the approver saw binds: the job hash by body or If-Match, quoted or not, and the snapshot', async () => {
    const job = await park()
    const item = await itemOf(job)
    const { job_hash, policy_snapshot } = item as Record<string, unknown>
    for (const [body, headers] of [
      [{ job_hash: 'f'.repeat(64) }, {}],
      [{ policy_snapshot: 'other' }, {}],
      [{}, { 'If-Match': '"0000"' }],
    ] as const) {
      const refused = await resolve(job, 'approve', body, headers)
      expect(refused.status).toBe(409)
      expect(refused.body).toMatchObject({ code: 'stale_binding', state: 'PARKED' })
    }
    const done = await resolve(job, 'approve', { policy_snapshot }, { 'If-Match': `"${String(job_hash)}"` })
    expect(done.body).toMatchObject({ resolution: { binding: 'client' } })
    const other = await park()
    const hash = String((await itemOf(other))?.['job_hash'])
    expect((await resolve(other, 'reject', { job_hash: hash }, { 'If-Match': hash })).status).toBe(200)
  })

  test('an approver may add limits, and the job runs under them', async () => {
    const job = await park()
    const done = await resolve(job, 'approve', { note: 'briefly', constraints: { max_runtime_sec: 5 } })
    expect(done.body).toMatchObject({ resolution: { constraints: { max_runtime_sec: 5 } } })
    const ended = await api('GET', `/api/v1/jobs/${job}?wait=20`)
    expect(ended.body).toMatchObject({ state: 'SUCCEEDED', constraints: { max_runtime_sec: 5 } })
  })

  test('many at once: one is told it decided, the others who did', async () => {
    const job = await park()
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        resolve(job, n % 2 === 0 ? 'approve' : 'reject', { note: `n${n}` }),
      ),
    )
    const won = answers.filter(({ status }) => status === 200)
    expect(won).toHaveLength(1)
    for (const lost of answers.filter(({ status }) => status !== 200)) {
      expect(lost.status).toBe(409)
      expect(lost.body).toMatchObject({ code: 'already_resolved', resolution: won[0]?.body['resolution'] })
    }
  })

  test('once denied by a newer policy, the approval is refused and the job with it', async () => {
    const job = await park()
    const changed = policy.replace('risk_tags: ["destructive"]', 'risk_tags: ["destructive", "prod"]')
    const snapshot = async (): Promise<unknown> =>
      (await api('GET', '/readyz?verbose')).body['policy_snapshot']
    const before = await snapshot()
    await writeFile(config.policyFile, changed)
    await until(async () => (await snapshot()) !== before)
    const refused = await resolve(job, 'approve', { note: 'go' })
    expect(refused.status).toBe(409)
    expect(refused.body).toMatchObject({ code: 'denied_now', state: 'DENIED' })
    await writeFile(config.policyFile, policy)
    await until(async () => (await snapshot()) === before)
  })

  test.each<[string, unknown, Record<string, string>, number, string]>([
    ['a note of 1,001 characters', { note: 'x'.repeat(1_001) }, {}, 400, 'invalid'],
    ['a note that is no text', { note: 7 }, {}, 400, 'invalid'],
    ['two different notes', { note: 'a', reason: 'b' }, {}, 400, 'invalid'],
    ['an unknown key', { notes: 'a' }, {}, 400, 'invalid'],
    ['a limit nobody knows', { constraints: { max_runtme_sec: 1 } }, {}, 400, 'invalid'],
    ['limits that are no object', { constraints: 'few' }, {}, 400, 'invalid'],
    ['a hash that is no text', { job_hash: 1 }, {}, 400, 'invalid'],
    ['two different hashes', { job_hash: 'a' }, { 'If-Match': '"b"' }, 400, 'invalid'],
    ['no JSON', '{', {}, 400, 'invalid_json'],
    [
      'a form',
      'note=a',
      { 'Content-Type': 'application/x-www-form-urlencoded' },
      415,
      'unsupported_media_type',
    ],
    ['text without a media type', 'note', { 'Content-Type': '' }, 415, 'unsupported_media_type'],
  ])('%s is refused and decides nothing', async (_name, body, headers, status, code) => {
    const job = await park()
    const refused = await resolve(job, 'approve', body, headers)
    expect([refused.status, refused.body['code']]).toEqual([status, code])
    expect((await api('GET', `/api/v1/jobs/${job}`)).body['state']).toBe('PARKED')
  })

  test('a note of exactly 1,000 characters with control characters stands on record as it is', async () => {
    const note = `\u001b[31m${'n'.repeat(995)}`
    const job = await park()
    expect((await resolve(job, 'reject', { note })).status).toBe(200)
    const records = await readJob(nats, job)
    expect(records.at(-1)?.data.resolution?.note).toBe(note)
  })

  test('a job that does not exist cannot be decided', async () => {
    const refused = await resolve('default.m0000000000000000000000000000000', 'approve')
    expect([refused.status, refused.body['code']]).toEqual([404, 'not_found'])
  })
})
