import { readFile, writeFile } from 'node:fs/promises'
import type { NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Config } from '../../gateway/config/config.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { newToken, tokenHash } from '../../gateway/http/token.ts'
import { apiOf, type ApiCall } from '../helpers/api.ts'
import { ask, coreWorker, readJob, testConfig } from '../helpers/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { runsOn } from '../helpers/which-server.ts'

/** What an approver may send, by either door: the same answer, and what is not understood decides nothing. */

const rules = `version: v1
rules:
  - { id: ask, match: { topics: ["job.ask.*"] }, decision: require_approval }
  - id: two
    match: { topics: ["job.two.*"] }
    decision: require_approval
    approval: { thresholds: [{ from: { persons: [demo-approver, second-approver] }, approve: 2 }] }
  - { id: asks-too, match: { topics: ["job.limited.*"] }, decision: require_approval }
  - id: limits
    match: { topics: ["job.limited.*"] }
    decision: allow_with_constraints
    constraints:
      max_runtime_sec: 60
      max_output_bytes: 1000
      allow_paths: [/srv/data]
      allow_hosts: ["*.example.org", a.internal]
      deny_hosts: [bad.example.org]
`

let nats: TestNats
let config: Config
let gateway: Gateway
let agent: NatsConnection
let person: NatsConnection
let api: ApiCall

beforeAll(async () => {
  nats = await startTestNats()
  config = await testConfig(nats, rules)
  const token = newToken()
  const tokensFile = config.policyFile.replace('policy.yaml', 'tokens.yaml')
  const entry = { principal: 'demo-approver', roles: ['approver'], tenants: 'all', sha256: tokenHash(token) }
  await writeFile(tokensFile, JSON.stringify({ tokens: [entry] }), { mode: 0o600 })
  config = { ...config, profile: 'standard', tokensFile }
  gateway = await startGateway(config)
  const call = apiOf(gateway.httpUrl)
  api = (method, path, body, headers = {}) =>
    call(method, path, body, { ...headers, Authorization: `Bearer ${token}` })
  agent = await nats.connect('demo')
  person = await nats.connect('demo-approver')
  await coreWorker(nats, 'helpdesk-1', () => ({ body: '{}' }))
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

type Answered = { status?: number; code?: string; state?: string; detail?: string }
const park = async (topic = 'job.ask.x'): Promise<string> => {
  const { job_id, state } = await ask(agent, topic, {}, crypto.randomUUID())
  expect(state).toBe('PARKED')
  return job_id
}
const byNats = async (job: string, body: string): Promise<Answered> =>
  (await person.request(`approvals.resolve.demo-approver.${job}`, body, { timeout: 15_000 })).json()
const byHttp = async (job: string, body: string): Promise<Answered> =>
  (await api('POST', `/api/v1/approvals/${job}/approve`, body)).body
const events = async (job: string): Promise<string[]> =>
  (await readJob(nats, job)).map(({ data }) => data.event)
const long = 'n'.repeat(10_000)
const paths = Array.from({ length: 64 }, (_, n) => `/p${n}/${'x'.repeat(1_000)}`)
const many = Array.from({ length: 65 }, (_, n) => `/p${n}`)

describe.runIf(runsOn('current'))('a body that cannot be read or carried out', () => {
  let job: string
  beforeAll(async () => void (job = await park()))
  // What stands for D is the decision, which over HTTP is in the path.
  test.each<[string, string, number, string]>([
    ['no JSON', '{D', 400, 'invalid_json'],
    ['a list', '[]', 400, 'invalid'],
    ['null', 'null', 400, 'invalid'],
    ['text', '"approve"', 400, 'invalid'],
    ['the same key twice', '{D"note":"a","note":"b"}', 400, 'invalid_json'],
    ['half of a surrogate pair', String.raw`{D"note":"\ud800"}`, 400, 'invalid_json'],
    ['a __proto__ of its own', '{D"__proto__":{"note":"x"}}', 400, 'invalid'],
    ['limits with a __proto__', '{D"constraints":{"__proto__":{}}}', 400, 'invalid'],
    ['a note that is null', '{D"note":null}', 400, 'invalid'],
    ['a note of 10,000 characters', `{D"note":"${long}"}`, 400, 'invalid'],
    ['a hash that is null', '{D"job_hash":null}', 400, 'invalid'],
    ['an empty hash', '{D"job_hash":""}', 400, 'invalid'],
    ['a hash as a list', '{D"job_hash":["a"]}', 400, 'invalid'],
    ['a very long snapshot', `{D"policy_snapshot":"${long}"}`, 400, 'invalid'],
    ['an unknown key', '{D"by":"second-approver"}', 400, 'invalid'],
    ['limits that are null', '{D"constraints":null}', 400, 'invalid'],
    ['a limit that is null', '{D"constraints":{"max_runtime_sec":null}}', 400, 'invalid'],
    ['a limit beyond all numbers', '{D"constraints":{"max_runtime_sec":1e400}}', 400, 'invalid_json'],
    ['an unknown limit', '{D"constraints":{"max_runtime":5}}', 400, 'invalid'],
    ['a limit that is counted for a rule', '{D"constraints":{"max_concurrency":1}}', 400, 'invalid'],
    ['an empty list of what is denied', '{D"constraints":{"deny_hosts":[]}}', 400, 'invalid'],
    [
      'limits of more entries than anybody reads',
      `{D"constraints":{"allow_paths":${JSON.stringify(many)}}}`,
      400,
      'invalid',
    ],
    [
      'limits that no record can hold',
      `{D"constraints":{"allow_paths":${JSON.stringify(paths)}}}`,
      413,
      'too_large',
    ],
  ])('%s is refused the same by NATS and by HTTP, and decides nothing', async (_name, body, status, code) => {
    const answers = [
      await byNats(job, body.replace('D', '"decision":"approve",')),
      await byHttp(job, body.replace('D', '')),
    ]
    for (const answer of answers) expect(answer).toMatchObject({ status, code })
    expect(answers[0]?.detail?.replace(/\(line.*/, '')).toBe(answers[1]?.detail?.replace(/\(line.*/, ''))
  })

  test('nothing of it is on the job’s record, or stays behind to be tried again and again', async () => {
    expect(await events(job)).toEqual(['parked'])
    const owner = await nats.connect('gateway')
    await expect
      .poll(
        async () => {
          const info = await owner.request('$JS.API.STREAM.INFO.COMMANDS', '', { timeout: 5_000 })
          return info.json<{ state: { messages: number } }>().state.messages
        },
        { timeout: 15_000 },
      )
      .toBe(0)
  })

  test('a note of control and direction characters is one person’s word and fits, whatever it is made of', async () => {
    const note = '\u0000\u202e\u200b'.repeat(333)
    expect(await byNats(job, JSON.stringify({ decision: 'reject', note }))).toMatchObject({
      state: 'REJECTED',
    })
    expect((await readJob(nats, job)).at(-1)?.data.resolution?.note).toBe(note)
  })
})

describe.runIf(runsOn('current'))('an approver who widens', () => {
  let job: string
  beforeAll(async () => void (job = await park('job.limited.x')))
  test.each<[string, object, number]>([
    ['a longer time', { max_runtime_sec: 61 }, 409],
    ['a larger output', { max_output_bytes: 1001 }, 409],
    ['retries where there are none', { max_retries: 1 }, 409],
    ['the folder above', { allow_paths: ['/srv'] }, 409],
    ['everything', { allow_paths: ['/'] }, 409],
    ['a folder that begins alike', { allow_paths: ['/srv/database'] }, 409],
    ['one folder more', { allow_paths: ['/srv/data', '/etc'] }, 409],
    ['a way back up', { allow_paths: ['/srv/data/../etc'] }, 400],
    ['a dot', { allow_paths: ['/srv/data/./x'] }, 400],
    ['two slashes', { allow_paths: ['/srv//data'] }, 400],
    ['a slash at the end', { allow_paths: ['/srv/data/'] }, 400],
    ['a wildcard in a path', { allow_paths: ['/srv/data/*'] }, 400],
    ['a relative path', { allow_paths: ['srv/data'] }, 400],
    ['the name above', { allow_hosts: ['example.org'] }, 409],
    ['all names above', { allow_hosts: ['*.org'] }, 409],
    ['a name that ends alike', { allow_hosts: ['evil-example.org'] }, 409],
    ['one host more', { allow_hosts: ['a.internal', 'b.internal'] }, 409],
    ['a host in capitals', { allow_hosts: ['A.internal'] }, 400],
    ['a dot at the end', { allow_hosts: ['a.internal.'] }, 400],
    ['any host', { allow_hosts: ['*'] }, 400],
    ['a host with a port', { allow_hosts: ['a.internal:80'] }, 400],
  ])('by %s is refused, by either door', async (_name, constraints, status) => {
    const code = status === 409 ? 'constraints_widen' : 'invalid'
    expect(await byNats(job, JSON.stringify({ decision: 'approve', constraints }))).toMatchObject({
      status,
      code,
    })
    expect(await byHttp(job, JSON.stringify({ constraints }))).toMatchObject({ status, code })
  })

  test.each<[string, object, object]>([
    ['nothing at all', { allow_paths: [], allow_hosts: [] }, { allow_paths: [], allow_hosts: [] }],
    [
      'fewer hosts in any order, some twice',
      {
        allow_hosts: ['x.example.org', 'a.internal', 'x.example.org'],
      },
      { allow_hosts: ['a.internal', 'x.example.org'] },
    ],
    [
      'a host that is denied as well',
      { deny_hosts: ['worse.example.org'] },
      {
        deny_hosts: ['bad.example.org', 'worse.example.org'],
      },
    ],
    [
      'a folder below, and no retries',
      { allow_paths: ['/srv/data/x'], max_retries: 0 },
      {
        allow_paths: ['/srv/data/x'],
        max_retries: 0,
      },
    ],
  ])('narrows by %s, and the job runs under it', async (_name, constraints, want) => {
    const limited = await park('job.limited.x')
    expect(await byHttp(limited, JSON.stringify({ constraints }))).toMatchObject({ state: 'DISPATCHED' })
    expect(await events(job)).toEqual(['parked'])
    const approved = (await readJob(nats, limited)).find(({ data }) => data.event === 'approved')?.data
    expect(approved?.decision.constraints).toMatchObject({ max_runtime_sec: 60, ...want })
    expect(approved?.dispatch?.attempts_max).toBe(1)
  })
})

describe('one person', () => {
  test('has one vote, by the token and by the user of the same name, in either order', async () => {
    for (const doors of [
      [byNats, byHttp],
      [byHttp, byNats],
    ] as const) {
      const job = await park('job.two.x')
      const [first, second] = doors
      expect(await first(job, first === byNats ? '{"decision":"approve"}' : '{}')).toMatchObject({
        state: 'PARKED',
      })
      expect(await second(job, second === byNats ? '{"decision":"approve"}' : '{}')).toMatchObject({
        status: 409,
        code: 'already_voted',
      })
      expect(await events(job)).toEqual(['parked', 'voted'])
    }
  })

  test('decides about no job of an agent of the same name, and does not find it among its own', async () => {
    const demo = await readFile(config.topologyFile, 'utf8')
    const topologyFile = config.policyFile.replace('policy.yaml', 'namesake.yaml')
    const namesake = demo
      .replace('user: billing-bot', 'user: acme-billing')
      .replace('[demo-approver, second-approver]', '[demo-approver, second-approver, billing-bot]')
    await writeFile(topologyFile, namesake)
    const token = newToken()
    const tokensFile = config.policyFile.replace('policy.yaml', 'namesake-tokens.yaml')
    const entry = { principal: 'billing-bot', roles: ['approver'], tenants: 'all', sha256: tokenHash(token) }
    await writeFile(tokensFile, JSON.stringify({ tokens: [entry] }), { mode: 0o600 })
    const beside = await startGateway({ ...config, gateway: 'beside', topologyFile, tokensFile })
    try {
      const bot = await nats.connect('billing-bot')
      const { job_id } = await ask(bot, 'job.billing-bot.ask.x', {})
      const own = apiOf(beside.httpUrl)
      const authorized = { Authorization: `Bearer ${token}` }
      const answer = await own('POST', `/api/v1/approvals/${job_id}/approve`, {}, authorized)
      expect(answer.body).toMatchObject({ status: 403, code: 'self_approval', state: 'PARKED' })
      const { body } = await own('GET', '/api/v1/approvals?mine=true', undefined, authorized)
      expect(JSON.stringify(body)).not.toContain(job_id)
    } finally {
      await beside.stop()
    }
  })

  test('who is no approver any more has no vote any more, though the rule still names the person', async () => {
    const job = await park('job.two.x')
    expect(await byNats(job, '{"decision":"approve"}')).toMatchObject({ state: 'PARKED' })
    const demo = await readFile(config.topologyFile, 'utf8')
    const topologyFile = config.policyFile.replace('policy.yaml', 'topology.yaml')
    await writeFile(topologyFile, demo.replace('[demo-approver, second-approver]', '[second-approver]'))
    await gateway.stop()
    gateway = await startGateway({ ...config, profile: 'dev', tokensFile: undefined, topologyFile })
    const shown = await apiOf(gateway.httpUrl)('GET', `/api/v1/approvals/${job}`)
    expect(shown.body).toMatchObject({ votes: [{ by: 'demo-approver' }], lacks: { persons: 2 } })
    const second = await nats.connect('second-approver')
    const answer = await second.request(`approvals.resolve.second-approver.${job}`, '{"decision":"approve"}')
    expect(answer.json()).toMatchObject({ state: 'PARKED' })
    expect(await events(job)).toEqual(['parked', 'voted', 'voted'])
  })
})
