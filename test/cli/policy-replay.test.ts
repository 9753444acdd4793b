import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { encodeRecord } from '../../audit/record.ts'
import type { ReplayReport } from '../../audit/replay.ts'
import { run as policy } from '../../cli/policy.ts'
import { credentialsOf } from '../../cli/dev/credentials.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { apiOf, type ApiCall } from '../helpers/api.ts'
import { readAudit, testConfig, until } from '../helpers/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { testTerminal } from '../helpers/terminal.ts'

const text = `version: v1
tags:
  - {add: [big], match: {payload: {/amount: {above: 100}}}}
rules:
  - {id: read, decision: allow, match: {topics: ["job.mcp-bridge.read.*"], risk_tags: []}}
  - {id: write, decision: require_approval, match: {topics: ["job.mcp-bridge.write.*"]}}
  - {id: big, decision: deny, match: {risk_tags: [big]}}
  - {id: exec, decision: throttle, throttle: {rate: 1, per: 10s, max_wait: 1m}, match: {topics: ["job.mcp-bridge.exec.*"]}}
  - {id: never, decision: allow, match: {topics: ["job.never"]}}
`
let nats: TestNats
let gateway: Gateway
let api: ApiCall
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-replay-'))
  nats = await startTestNats()
  gateway = await startGateway(await testConfig(nats, text))
  api = apiOf(gateway.httpUrl)
  const ready = { nats_url: nats.url, credentials: credentialsOf(nats.topology, nats.passwords) }
  await writeFile(join(folder, 'ready.json'), JSON.stringify(ready))
  const submit = (name: string, more: object = {}): ReturnType<ApiCall> =>
    api('POST', '/api/v1/jobs', { topic: `job.mcp-bridge.${name}`, ...more })
  for (const amount of [1, 500]) await submit('read.x', { payload: { amount }, labels: { n: 'ü' } })
  for (const name of ['exec.a', 'exec.b', 'other.x']) await submit(name)
  const parked = await submit('write.x')
  const id = String(parked.body['job_id'])
  // What was refused stands beside the chain, names the job, and decided nothing.
  await api('POST', `/api/v1/approvals/${id}/approve`, { job_hash: '0' })
  await until(
    async () => (await api('POST', `/api/v1/approvals/${id}/approve`, { note: 'ok' })).status === 200,
  )
  await submit('read.x', { deadline: '2020-01-01T00:00:00Z' })
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
  await rm(folder, { recursive: true })
})

async function replay(candidate: string, ...more: string[]): Promise<{ code: number; report: ReplayReport }> {
  const file = join(folder, 'candidate.yaml')
  await writeFile(file, candidate)
  const terminal = testTerminal({ SLUICE_DATA_DIR: folder })
  const code = await policy(['replay', '--policy', file, '-o', 'json', ...more], terminal)
  expect(terminal.errLines).toEqual([])
  return { code, report: JSON.parse(terminal.outLines.join('')) as ReplayReport }
}

test('under its own policy every decision comes out as recorded; what no policy decided is counted apart', async () => {
  const { code, report } = await replay(text)
  expect(report).toMatchObject({
    decisions: 8,
    replayed: 7,
    flips: [],
    changes: [],
    not_reproduced: { count: 0 },
    not_replayable: [],
    not_evaluated: { 'sluice.expired': 1 },
    rules_never_hit: ['never'],
  })
  expect(code).toBe(0)
})

test('a candidate shows what it would flip, by rule and agent, with jobs', async () => {
  const { code, report } = await replay(text.replace('decision: require_approval', 'decision: deny'))
  expect(code).toBe(1)
  expect(report.flips).toMatchObject([
    {
      from: { type: 'REQUIRE_APPROVAL', rule_id: 'write' },
      to: { type: 'DENY', rule_id: 'write' },
      actor: 'default.demo',
      count: 2,
      job_ids: [expect.stringMatching(/^default\./)],
    },
  ])
})

test('a payload condition that nobody asked is not guessed; a time window is answered from the moment on record', async () => {
  const asks = text.replace('/amount: {above: 100}', '/amount: {above: 200}')
  const { report } = await replay(asks)
  expect(report.replayed).toBe(0)
  expect(report.not_replayable).toMatchObject([{ count: 7, reason: expect.stringContaining('/amount') }])
  const always = text.replace(
    'match: {topics: ["job.never"]}',
    'match: {time: {zone: UTC, from: "00:00", to: "24:00"}}',
  )
  expect((await replay(always)).report).toMatchObject({ replayed: 7, rules_never_hit: [] })
})

test('records of a file are as good, and a record that was changed is not reproduced', async () => {
  const file = join(folder, 'records.jsonl')
  const records = (await readAudit(nats)).map(({ record }) => record)
  const lines = records.map((record) => encodeRecord(record))
  await writeFile(file, `${lines.join('\n')}\n`)
  expect((await replay(text, '--records', file)).code).toBe(0)
  const changed = (await readFile(file, 'utf8')).replaceAll('"declared":[]', '"declared":["x"]')
  await writeFile(file, changed)
  const { code, report } = await replay(text, '--records', file)
  expect(code).toBe(1)
  expect(report.not_reproduced.count).toBeGreaterThan(0)
})

test('only what is young enough is looked at', async () => {
  expect((await replay(text, '--since', '1d')).report.decisions).toBe(8)
  await new Promise((resolve) => setTimeout(resolve, 5))
  expect((await replay(text, '--since', '1ms')).report.decisions).toBe(0)
})
