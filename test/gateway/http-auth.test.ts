import { randomUUID } from 'node:crypto'
import { Agent } from 'node:http'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { access } from '../../gateway/http/access.ts'
import { newToken } from '../../gateway/http/token.ts'
import { roles, type Role } from '../../gateway/http/tokens-file.ts'
import { ask as askBus, readAudit, readJob, testConfig, until } from '../helpers/gateway.ts'
import { ask, type HttpAnswer, type HttpAsked } from '../helpers/http.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { tokenBook, type TokenBook } from '../helpers/tokens.ts'

const policy = `version: v1
rules:
  - id: acmes-own
    match: { topics: ["job.read.*"], tenants: [acme] }
    decision: require_approval
  - id: read
    match: { topics: ["job.read.*"] }
    decision: allow
  - id: asked
    match: { topics: ["job.asked.*"] }
    decision: require_approval
  - id: asked-twice
    match: { topics: ["job.twice.*"] }
    decision: require_approval
    approval:
      thresholds: [{ from: { groups: [ops] }, approve: 2 }]
`

let nats: TestNats
let gateway: Gateway
let book: TokenBook
let support: NatsConnection
const tokens = {} as Record<Role | `${Exclude<Role, 'agent'>}All`, string>
let sibling: string
let own: string
let acmeApprover: string
let nobodys: string

beforeAll(async () => {
  nats = await startTestNats()
  const folder = await mkdtemp(join(tmpdir(), 'sluice-auth-'))
  const topologyFile = join(folder, 'topology.yaml')
  const demo = await readFile('deploy/topology.yaml', 'utf8')
  const owned = demo.replace('account: DEMO, user: demo', 'account: DEMO, user: demo, owner: demo-approver')
  await writeFile(topologyFile, `${owned}\ngroups: { ops: [demo-approver, second-approver] }\n`)
  const tokensFile = join(folder, 'tokens.yaml')
  book = tokenBook(tokensFile)
  for (const role of roles) {
    if (role === 'agent') continue
    const principal = role === 'approver' ? 'second-approver' : `the-${role}`
    tokens[role] = book.add({ principal, roles: [role], tenants: ['default'] })
    tokens[`${role}All`] = book.add({ principal, roles: [role], tenants: 'all' })
  }
  tokens.agent = book.add({ principal: 'ci', roles: ['agent'], tenants: ['default'], agent: 'demo' })
  own = book.add({ principal: 'support', roles: ['agent'], tenants: ['acme'], agent: 'support-bot' })
  sibling = book.add({ principal: 'billing', roles: ['agent'], tenants: ['acme'], agent: 'billing-bot' })
  acmeApprover = book.add({ principal: 'demo-approver', roles: ['approver'], tenants: 'all' })
  nobodys = book.add({ principal: 'scraper', roles: ['viewer'], tenants: [] })
  await book.write()
  const standard = await testConfig(nats, policy, { topologyFile, tokensFile, profile: 'standard' })
  gateway = await startGateway(standard)
  support = await nats.connect('support-bot')
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

const call = (path: string, asked: HttpAsked = {}): Promise<HttpAnswer> => ask(gateway.httpUrl + path, asked)
const post = (path: string, token: string, body: unknown): Promise<HttpAnswer> =>
  call(`/api/v1/${path}`, { method: 'POST', token, body })
const bodyOf = ({ text }: HttpAnswer) => JSON.parse(text) as Record<string, unknown>

async function submitted(token: string, topic: string, more: object = {}): Promise<string> {
  // The same request twice would be one.
  const answer = await post('jobs', token, { topic, payload: randomUUID(), ...more })
  expect(answer.status).toBe(202)
  return String(bodyOf(answer)['job_id'])
}

async function bound(job: string, note = ''): Promise<object> {
  const { data } = (await readJob(nats, job))[0] ?? expect.fail('no record')
  return { note, job_hash: data.job_hash, policy_snapshot: data.decision.policy_snapshot }
}

describe('who has no good token is nobody', () => {
  const token = (): string => tokens.viewerAll
  const rows: [string, () => Record<string, string>][] = [
    ['nothing', () => ({})],
    ['an empty header', () => ({ Authorization: '' })],
    ['a scheme alone', () => ({ Authorization: 'Bearer' })],
    ['another scheme', () => ({ Authorization: `Basic ${token()}` })],
    ['the token without its scheme', () => ({ Authorization: token() })],
    ['a token that nobody was given', () => ({ Authorization: `Bearer ${newToken()}` })],
    ['a token cut short', () => ({ Authorization: `Bearer ${token().slice(0, -1)}` })],
    ['a token that goes on', () => ({ Authorization: `Bearer ${token()}x` })],
    ['another case', () => ({ Authorization: `Bearer ${token().toUpperCase()}` })],
    ['the last letter changed', () => ({ Authorization: `Bearer ${token().slice(0, -1)}!` })],
    ['two tokens', () => ({ Authorization: `Bearer ${token()} ${token()}` })],
    ['the token in another header', () => ({ 'X-Api-Key': token(), Cookie: `token=${token()}` })],
    [
      'a name that others are trusted with',
      () => ({ 'X-Forwarded-User': 'the-viewer', 'Sluice-Actor': 'demo' }),
    ],
  ]
  test.each(rows)('%s', async (_, headers) => {
    const answer = await call('/api/v1/approvals', { headers: headers() })
    expect([answer.status, answer.code]).toEqual([401, 'unauthenticated'])
    expect(answer.headers['www-authenticate']).toMatch(/^Bearer realm="sluice"/)
    expect(answer.text).not.toContain(token())
  })

  test('a token in the address is none', async () => {
    expect((await call(`/api/v1/approvals?access_token=${token()}`)).status).toBe(401)
  })

  test('the scheme may be in any case', async () => {
    for (const scheme of ['bearer', 'BEARER', 'Bearer '])
      expect(
        (await call('/api/v1/approvals', { headers: { Authorization: `${scheme} ${token()}` } })).status,
      ).toBe(200)
  })

  test('a header beyond all measure does not reach us', async () => {
    const headers = (length: number) => ({ Authorization: `Bearer ${'x'.repeat(length)}` })
    expect((await call('/api/v1/approvals', { headers: headers(8_000) })).status).toBe(401)
    expect((await call('/api/v1/approvals', { headers: headers(20_000) })).status).toBe(431)
  })

  test('a token is good until its moment and not after it', async () => {
    const gone = book.add({ principal: 'old', roles: ['viewer'], tenants: 'all', expires: '2020-01-31' })
    const stays = book.add({
      principal: 'new',
      roles: ['viewer'],
      tenants: 'all',
      expires: '2999-01-31T12:00:00+02:00',
    })
    await book.write()
    await until(async () => (await call('/api/v1/approvals', { token: stays })).status === 200)
    const answer = await call('/api/v1/approvals', { token: gone })
    expect([answer.status, answer.text]).toEqual([401, expect.stringContaining('expired')])
  })
})

describe('every route asks every caller for its role', () => {
  const unknown = `default.m${'0'.repeat(32)}`
  const rows = Object.entries(access).filter(([route]) => route.includes(' /api/'))
  const calling = (route: string, token?: string): Promise<HttpAnswer> => {
    const [method = '', path = ''] = route.split(' ')
    const at = path.replace(':id', unknown).replace(':snapshot', '0'.repeat(64))
    return call(at, { method, ...(token && { token }), ...(method === 'POST' && { body: {} }) })
  }

  test.each(rows)('%s', async (route, needed) => {
    const bare = await calling(route)
    if (needed === 'anybody') {
      expect([route, bare.status]).toEqual(['GET /api/v1/keys', 200])
      return
    }
    expect([bare.status, bare.code]).toEqual([401, 'unauthenticated'])
    for (const role of roles) {
      const may = needed.roles.includes(role)
      const { status, code } = await calling(route, role === 'agent' ? tokens.agent : tokens[`${role}All`])
      // A line about a route that is not there would be read as a promise.
      const shut = [401, 403].includes(status) || ['no_such_path', 'method_not_allowed'].includes(code)
      if (may) expect([role, shut]).toEqual([role, false])
      else expect([role, status, code]).toEqual([role, 403, 'forbidden'])
      if (role === 'agent' || !may) continue
      const inPart = await calling(route, tokens[role])
      expect([role, inPart.status === 403]).toEqual([role, needed.tenants === 'all'])
    }
  })

  test('what is not served and what is not taken is told to nobody who is not known', async () => {
    for (const [method, path] of [
      ['GET', '/api/v1/nothing'],
      ['DELETE', '/api/v1/jobs'],
      ['GET', '/'],
    ] as const)
      expect((await call(path, { method })).status).toBe(401)
    expect((await call('/api/v1/nothing', { token: tokens.viewer })).code).toBe('no_such_path')
    expect((await call('/api/v1/jobs', { method: 'DELETE', token: tokens.viewer })).code).toBe(
      'method_not_allowed',
    )
  })
})

describe("another tenant's things do not exist", () => {
  test('by no id, on no route: the answer is that of an id that never was', async () => {
    const real = await submitted(own, 'job.asked.x', { trace_id: 'shared-trace' })
    const trace = String(bodyOf(await call(`/api/v1/jobs/${real}`, { token: tokens.viewerAll }))['trace_id'])
    const unreal = `acme.m${'0'.repeat(32)}`
    const withId = Object.entries(access).filter(([route]) => route.includes('/:id'))
    expect(withId.length).toBeGreaterThan(5)
    for (const [route, needed] of withId) {
      if (needed === 'anybody') throw new Error('an id for anybody')
      const [method = '', path = ''] = route.split(' ')
      for (const role of needed.roles) {
        const asking = async (id: string): Promise<unknown> => {
          const body = method === 'POST' ? { body: {} } : {}
          const answer = await call(path.replace(':id', id), { method, token: tokens[role], ...body })
          return [answer.status, answer.text]
        }
        const nothing = await asking(unreal)
        expect([route, role, nothing]).toEqual([route, role, [404, expect.stringContaining('not_found')]])
        expect([route, role, await asking(real)]).toEqual([route, role, nothing])
        if (path.includes('traces')) expect(await asking(trace)).toEqual(await asking('no-such-trace'))
      }
    }
    expect((await readJob(nats, real)).length).toBe(1)
  })

  test('a trace that two tenants share shows each its own', async () => {
    const ours = await submitted(tokens.agent, 'job.asked.x', { trace_id: 'shared-trace' })
    const seen = async (path: string, token: string) => {
      const answer = await call(`/api/v1/traces/${path}`, { token })
      return answer.status === 200
        ? (bodyOf(answer) as { tenant: string; jobs: { job_id: string }[] })
        : answer.status
    }
    expect(await seen('shared-trace', tokens.auditor)).toMatchObject({
      tenant: 'default',
      jobs: [{ job_id: ours }],
    })
    expect(await seen('shared-trace?tenant=acme', tokens.auditor)).toBe(404)
    expect(await seen('shared-trace?tenant=acme', tokens.auditorAll)).toMatchObject({ tenant: 'acme' })
    expect(await seen('shared-trace', nobodys)).toBe(404)
  })

  test('lists have what is theirs, page by page, and what is resolved likewise', async () => {
    const ours: string[] = []
    for (let nth = 0; nth < 4; nth++) {
      await submitted(own, 'job.asked.x')
      ours.push(await submitted(tokens.agent, 'job.asked.x'))
    }
    const done = await submitted(tokens.agent, 'job.asked.x')
    expect((await post(`approvals/${done}/reject`, tokens.approver, await bound(done))).status).toBe(200)
    const theirs = await submitted(own, 'job.asked.x')
    expect((await post(`approvals/${theirs}/reject`, acmeApprover, await bound(theirs))).status).toBe(200)
    const list = async (token: string, query: string): Promise<string[]> => {
      const found: string[] = []
      for (let cursor: string | undefined = ''; cursor !== undefined;) {
        const page: Partial<{ items: { job_id: string }[]; next_cursor: string | null }> = bodyOf(
          await call(`/api/v1/approvals?limit=2${query}${cursor}`, { token }),
        )
        found.push(...(page.items ?? []).map(({ job_id }) => job_id))
        cursor = typeof page.next_cursor === 'string' ? `&cursor=${page.next_cursor}` : undefined
      }
      return found
    }
    const all = await list(tokens.viewerAll, '')
    expect(await list(tokens.viewer, '')).toEqual(all.filter((id) => id.startsWith('default.')))
    expect(all).toEqual(expect.arrayContaining(ours))
    expect(all.some((id) => id.startsWith('acme.'))).toBe(true)
    const more = await list(tokens.viewer, '&include_resolved=true')
    expect([more.includes(done), more.some((id) => id.startsWith('acme.'))]).toEqual([true, false])
    expect(await list(tokens.viewerAll, '&include_resolved=true')).toContain(theirs)
    expect(await list(nobodys, '&include_resolved=true')).toEqual([])
  })

  test('an agent knows its own jobs and not those of a sibling', async () => {
    const job = await submitted(own, 'job.asked.x')
    expect(bodyOf(await call(`/api/v1/jobs/${job}`, { token: own }))).toMatchObject({
      actor: 'support-bot',
      state: 'PARKED',
    })
    const never = `acme.m${'0'.repeat(32)}`
    const answers = async (id: string) => [
      (await call(`/api/v1/jobs/${id}?wait=1`, { token: sibling })).text,
      (await post(`jobs/${id}/cancel`, sibling, {})).text,
    ]
    expect(await answers(job)).toEqual(await answers(never))
    const cancelled = bodyOf(await post(`jobs/${job}/cancel`, own, { note: 'not needed' }))
    expect(cancelled).toMatchObject({ state: 'CANCELLED', resolution: { by: 'support', via: 'http' } })
  })

  test('what the body or a header says about tenant and actor changes nothing', async () => {
    const claim = await post('jobs', tokens.agent, { topic: 'job.read.x', tenant_id: 'acme' })
    expect([claim.status, claim.code]).toEqual([403, 'identity_mismatch'])
    for (const scene of [
      { tenant: 'acme' },
      { actor: 'support-bot' },
      { tenant: 'acme', actor: 'support-bot' },
    ]) {
      const asked = await post('policy/explain', tokens.agent, { topic: 'job.read.x', ...scene })
      expect([asked.status, asked.code]).toEqual([403, 'identity_mismatch'])
    }
    expect(
      (await post('policy/explain', tokens.viewer, { topic: 'job.read.x', tenant: 'acme' })).status,
    ).toBe(403)
    expect((await post('policy/explain', tokens.viewer, { topic: 'job.read.x' })).code).toBe('invalid')
    expect((await post('policy/explain', tokens.viewer, { topic: 'job.read.x', actor: 'demo' })).status).toBe(
      200,
    )
    const near = async (token: string): Promise<string> =>
      (await post('policy/explain', token, { topic: 'job.read.x', tenant: 'default', actor: 'demo' })).text
    expect(await near(tokens.viewerAll)).toContain('acmes-own')
    expect(await near(tokens.viewer)).not.toContain('acme')
    const answer = await call('/api/v1/jobs', {
      method: 'POST',
      token: tokens.agent,
      body: { topic: 'job.asked.x', tenant_id: 'default' },
      headers: {
        'X-Forwarded-User': 'root',
        'X-Forwarded-For': '10.0.0.1',
        'Sluice-Tenant': 'acme',
        'Sluice-Actor': 'support-bot',
        'Sluice-Message-Id': 'mine',
        'Sluice-Principal': 'root',
      },
    })
    const [record] = await readJob(nats, String(bodyOf(answer)['job_id']))
    const actor = { auth: 'http', id: 'demo', principal: 'ci', type: 'agent' }
    expect(record?.data.tenant).toBe('default')
    expect(record?.data.actor).toEqual(actor)
    const trace = await call(`/api/v1/traces/${record?.data.trace_id}`, { token: tokens.auditor })
    expect(bodyOf(trace)['jobs']).toMatchObject([{ actor }])
  })
})

test('a stop holds what its operator may hold, is hidden from others, and names the person', async () => {
  const stop = (token: string, scope: object) => post('control/stop', token, { scope, reason: 'incident 9' })
  for (const scope of [{ kind: 'all' }, { kind: 'topic', pattern: 'job.read.x' }])
    expect((await stop(tokens.operator, scope)).code).toBe('forbidden')
  for (const tenant of ['acme', 'never-was'])
    expect((await stop(tokens.operator, { kind: 'tenant', tenant })).code).toBe('not_found')
  const theirs = bodyOf(
    await stop(tokens.operatorAll, { kind: 'agent', tenant: 'acme', agent: 'billing-bot' }),
  )
  const ours = bodyOf(await stop(tokens.operator, { kind: 'agent', tenant: 'default', agent: 'nobody' }))
  expect([theirs['by'], ours['by']]).toEqual(['the-operator', 'the-operator'])
  const listed = async (token: string) =>
    (bodyOf(await call('/api/v1/control', { token }))['stops'] as { id: string }[]).map(({ id }) => id)
  expect(await listed(tokens.viewer)).toEqual([ours['id']])
  expect((await listed(tokens.viewerAll)).length).toBe(2)
  const resume = (token: string, id: unknown) =>
    post('control/resume', token, { id, stage: 'resumed', reason: 'over' })
  expect((await resume(tokens.operator, theirs['id'])).code).toBe('not_found')
  expect((await resume(tokens.operator, ours['id'])).status).toBe(200)
  expect((await resume(tokens.operatorAll, theirs['id'])).status).toBe(200)
  expect((await post('policy/shadow', tokens.operatorAll, { policy: null, reason: 'none' })).status).toBe(200)
  const by = (await readAudit(nats)).flatMap(({ record }) => {
    const { type, data } = record as unknown as { type: string; data: { by?: string } }
    return /^sluice\.(control|policy)\./.test(type) && data.by !== undefined ? [data.by] : []
  })
  expect(new Set(by)).toEqual(new Set(['the-operator']))
})

describe('one person is one voter', () => {
  test('who answers for an agent decides about its jobs neither by HTTP nor by NATS', async () => {
    const job = await submitted(tokens.agent, 'job.asked.x')
    const byHttp = await post(`approvals/${job}/approve`, acmeApprover, await bound(job))
    expect([byHttp.status, byHttp.code]).toEqual([403, 'self_approval'])
    expect(await byNats('demo-approver', job)).toMatchObject({ code: 'self_approval' })
    const done = bodyOf(await post(`approvals/${job}/approve`, tokens.approver, await bound(job, 'looked')))
    expect(done).toMatchObject({ resolution: { by: 'second-approver', via: 'http', note: 'looked' } })
  })

  test('a vote by HTTP is not followed by one by NATS', async () => {
    const job = await submitted(own, 'job.twice.x')
    expect(bodyOf(await post(`approvals/${job}/approve`, acmeApprover, await bound(job)))['state']).toBe(
      'PARKED',
    )
    expect(await byNats('demo-approver', job)).toMatchObject({ code: 'already_voted' })
    const answer = await post(`approvals/${job}/approve`, acmeApprover, await bound(job))
    expect(answer.code).toBe('already_voted')
  })

  async function byNats(who: string, job: string): Promise<unknown> {
    const person = await nats.connect(who)
    const wish = JSON.stringify({ decision: 'approve', ...(await bound(job)) })
    return (await person.request(`approvals.resolve.${who}.${job}`, wish, { timeout: 10_000 })).json()
  }
})

test('a token that is taken out stops at once, also for who has been waiting since before', async () => {
  const token = book.add({ principal: 'leaving', roles: ['viewer'], tenants: 'all' })
  await book.write()
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  await until(async () => (await call('/api/v1/approvals', { token, agent })).status === 200)
  const job = (await askBus(support, 'job.support-bot.asked.x', {})).job_id
  const waiting = call(`/api/v1/jobs/${job}?wait=60`, { token })
  // Those who are let in while it waits show that it has begun to.
  expect((await call('/api/v1/approvals', { token, agent })).status).toBe(200)
  book.remove(token)
  await book.write()
  await until(async () => (await call('/api/v1/approvals', { token, agent })).status === 401)
  agent.destroy()
  await post(`jobs/${job}/cancel`, tokens.operatorAll, {})
  expect((await waiting).status).toBe(401)
  expect((await waiting).text).not.toContain(job)
})
