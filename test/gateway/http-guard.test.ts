import { request as httpRequest } from 'node:http'
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Config } from '../../gateway/config/config.ts'
import { openHttp } from '../../gateway/http/server.ts'
import type { HttpDeps } from '../../gateway/http/route.ts'
import type { Io } from '../../gateway/io.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { alertedMetrics } from '../helpers/alerts.ts'
import { apiOf, type ApiCall } from '../helpers/api.ts'
import { testConfig, testHttp, until } from '../helpers/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'

let nats: TestNats
let config: Config
let gateway: Gateway
let api: ApiCall

beforeAll(async () => {
  nats = await startTestNats()
  config = await testConfig(nats, await readFile('deploy/policy.yaml', 'utf8'))
  gateway = await startGateway(config)
  api = apiOf(gateway.httpUrl)
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

/** `fetch` sets its own Host and Origin, a hostile page's browser would set others. */
function statusWith(path: string, headers: Record<string, string>, method = 'GET'): Promise<number> {
  const { hostname, port } = new URL(gateway.httpUrl)
  return new Promise((resolve, reject) => {
    httpRequest({ hostname, port, path, method, headers, agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
      .on('error', reject)
      .end()
  })
}

describe('profile dev believes everybody, so it must be hard to reach', () => {
  test.each([
    ['localhost:8081', 200],
    ['127.0.0.1', 200],
    ['127.8.9.10:1', 200],
    ['[::1]:8081', 200],
    ['gate.localhost', 200],
    ['evil.example', 421],
    ['evil.example:8081', 421],
    ['localhost.evil.example', 421],
    ['127.0.0.1.evil.example', 421],
    ['10.0.0.1', 421],
    ['0.0.0.0', 421],
  ])('Host %s is answered with %i', async (host, status) => {
    expect(await statusWith('/api/v1/approvals', { host })).toBe(status)
  })

  test.each([
    [{ origin: 'http://localhost:3000' }, 200],
    [{ origin: 'http://[::1]:3000' }, 200],
    [{ origin: 'https://evil.example' }, 403],
    [{ origin: 'null' }, 403],
    [{ 'sec-fetch-site': 'cross-site' }, 403],
    [{ 'sec-fetch-site': 'none' }, 200],
    [{ 'sec-fetch-site': 'same-origin' }, 200],
  ])('a page that says %j is answered with %i', async (headers, status) => {
    expect(await statusWith('/api/v1/approvals', headers as Record<string, string>)).toBe(status)
  })

  test('credentials are refused rather than ignored', async () => {
    const answer = await api('GET', '/api/v1/approvals', undefined, { Authorization: 'Bearer x' })
    expect([answer.status, answer.body['code']]).toEqual([400, 'credentials_unsupported'])
  })

  test('it listens on loopback only, whatever the configuration says', async () => {
    const io = { config: { ...config, http: { ...testHttp, host: '0.0.0.0' } } } as Io
    await expect(openHttp(io, {} as HttpDeps)).rejects.toThrow(/loopback/)
  })

  test('no answer invites other origins, caches or frames', async () => {
    const { headers } = await api('GET', '/api/v1/approvals', undefined, { Origin: 'http://localhost:1' })
    expect(headers.get('access-control-allow-origin')).toBeNull()
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('content-security-policy')).toMatch(/frame-ancestors 'none'/)
    expect((await api('OPTIONS', '/api/v1/jobs')).status).toBe(405)
  })
})

describe('paths and methods', () => {
  test.each([
    ['GET', '/', 404, 'no_such_path'],
    ['GET', '/api/v1/nothing', 404, 'no_such_path'],
    ['DELETE', '/api/v1/jobs', 405, 'method_not_allowed'],
    ['GET', '/api/v1/approvals/default.x/approve', 405, 'method_not_allowed'],
    ['PUT', '/readyz', 405, 'method_not_allowed'],
    ['GET', '/api/v1/jobs/%E0%A4%A', 404, 'not_found'],
    ['GET', '/api/v1/jobs/..%2f..%2fetc', 404, 'not_found'],
  ])('%s %s is %i %s', async (method, path, status, code) => {
    const answer = await api(method, path)
    expect([answer.status, answer.body['code'], answer.type]).toEqual([
      status,
      code,
      'application/problem+json',
    ])
  })

  test.each([
    ['/metrics', 200],
    ['/api/v1/../../metrics', 400],
    ['/api/v1/jobs/%2e%2e/%2E%2E/../../metrics', 400],
    ['/./metrics', 400],
    ['/api\\..\\metrics', 400],
    ['http://127.0.0.1/metrics', 400],
    ['http://evil.example/api/v1/approvals', 400],
    ['//metrics', 404],
  ])('a path that others may read differently is refused: %s is %i', async (path, status) => {
    expect(await statusWith(path, {})).toBe(status)
  })

  test('a refused method names those that are taken', async () => {
    expect((await api('DELETE', '/api/v1/jobs')).headers.get('allow')).toBe('POST')
  })
})

describe('health', () => {
  test('/healthz says that the process lives', async () => {
    expect(await api('GET', '/healthz')).toMatchObject({ status: 200, body: { status: 'ok' } })
  })

  test('/readyz is green when all is well and tells more when asked', async () => {
    expect(await api('GET', '/readyz')).toMatchObject({ status: 200, body: { ready: true } })
    const { body } = await api('GET', '/readyz?verbose')
    expect(body).toMatchObject({
      ready: true,
      profile: 'dev',
      fail_mode: 'closed',
      decision_timeout_ms: 2_000,
    })
    const checks = body['checks'] as { name: string; ok: boolean }[]
    expect(checks.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['nats', 'policy', 'fail_mode', 'decision_timeout', 'audit', 'phase', 'index']),
    )
    await until(async () => {
      const found = (await api('GET', '/readyz?verbose')).body['checks'] as { name: string; detail: string }[]
      return found.find(({ name }) => name === 'index')?.detail === 'complete'
    })
  })

  test('/metrics has the fixed names and never a job or trace id', async () => {
    const allowed = await api('POST', '/api/v1/jobs', {
      topic: 'job.mcp-bridge.read.x',
      trace_id: 'not-a-label',
    })
    const parked = await api('POST', '/api/v1/jobs', { topic: 'job.mcp-bridge.write.x', risk_tags: ['prod'] })
    const { text, type } = await api('GET', '/metrics')
    // An alert about a metric that nobody exports never fires.
    for (const name of await alertedMetrics()) expect(text).toMatch(new RegExp(`^${name}(\\{.*\\})? `, 'm'))
    expect(type).toMatch(/^text\/plain/)
    for (const line of [
      /^sluice_decisions_total\{decision="ALLOW",rule_id="allow-low-risk-read"\} 1$/m,
      /^sluice_decisions_total\{decision="REQUIRE_APPROVAL",rule_id="require-approval-prod-write"\} 1$/m,
      /^sluice_approval_oldest_age_seconds \d/m,
      /^sluice_approvals_expired_total 0$/m,
      /^sluice_fail_mode\{mode="closed"\} 1$/m,
      /^sluice_fail_mode\{mode="open"\} 0$/m,
      /^sluice_bypass_attempts_total 0$/m,
      /^sluice_policy_info\{snapshot="[^"]+"\} 1$/m,
      /^sluice_nats_connected 1$/m,
      /^sluice_stream_fullness_ratio\{stream="AUDIT"\} /m,
    ])
      expect(text).toMatch(line)
    expect(text).not.toContain('not-a-label')
    for (const { body } of [allowed, parked]) expect(text).not.toContain(String(body['job_id']))
  })
})

test('profile standard without tokens opens health and metrics and nothing else', async () => {
  const standard = await startGateway({ ...config, profile: 'standard', gateway: 'test-2' })
  try {
    const call = apiOf(standard.httpUrl)
    for (const path of ['/healthz', '/readyz', '/readyz?verbose', '/metrics'])
      expect((await call('GET', path)).status).toBe(200)
    for (const [method, path, body] of [
      ['POST', '/api/v1/jobs', { topic: 'job.mcp-bridge.read.x' }],
      ['GET', '/api/v1/approvals', undefined],
      ['POST', '/api/v1/approvals/default.m0000000000000000000000000000000/approve', {}],
      ['GET', '/api/v1/traces/x', undefined],
      ['POST', '/api/v1/policy/evaluate', { topic: 'job.mcp-bridge.read.x' }],
    ] as const) {
      const answer = await call(method, path, body)
      expect([answer.status, answer.body['code']]).toEqual([404, 'no_such_path'])
    }
  } finally {
    await standard.stop()
  }
})

test('without the bus the gateway says so, and answers again when it is back', async () => {
  await nats.kill9()
  await until(async () => (await api('GET', '/readyz')).status === 503)
  expect((await api('GET', '/readyz')).body).toMatchObject({ ready: false, failing: ['nats'] })
  expect((await api('GET', '/healthz')).status).toBe(200)
  for (const [method, path, body] of [
    ['POST', '/api/v1/jobs', { topic: 'job.mcp-bridge.read.x' }],
    ['GET', '/api/v1/approvals', undefined],
    ['GET', '/api/v1/traces/x', undefined],
  ] as const) {
    const answer = await api(method, path, body)
    expect([answer.status, answer.body['code']]).toEqual([503, 'unavailable'])
    expect(answer.headers.get('retry-after')).toBe('1')
  }
  await nats.restart()
  await until(async () => (await api('GET', '/readyz')).status === 200)
  // The first tries may come before the consumers are back; with the key they are all one job.
  const key = { 'Idempotency-Key': 'after-the-outage' }
  const answer = await until(async () => {
    const tried = await api('POST', '/api/v1/jobs', { topic: 'job.mcp-bridge.read.x' }, key)
    expect([202, 503]).toContain(tried.status)
    return tried.status === 202 && tried
  })
  expect(answer.body).toMatchObject({ state: 'DISPATCHED' })
  expect((await api('GET', `/api/v1/traces/${String(answer.body['trace_id'])}`)).status).toBe(200)
})
