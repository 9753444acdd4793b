import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createAllowance } from '../../gateway/allowance.ts'
import type { Config } from '../../gateway/config/config.ts'
import { accessOf } from '../../gateway/http/access.ts'
import type { HttpPatience, HttpServer } from '../../gateway/http/server.ts'
import { newToken, tokenHash } from '../../gateway/http/token.ts'
import { selfSigned } from '../helpers/certificate.ts'
import { openFront } from '../helpers/front.ts'
import { testHttp, until } from '../helpers/gateway.ts'
import { ask } from '../helpers/http.ts'
import { tokenBook } from '../helpers/tokens.ts'

/** What stands before the routes, with nothing behind it: none of these requests comes as far as the bus. */
let folder: string
let tokensFile: string
let viewer: string
let agent: string
const opened: HttpServer[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-front-'))
  tokensFile = join(folder, 'tokens.yaml')
  const book = tokenBook(tokensFile)
  viewer = book.add({ principal: 'looker', roles: ['viewer'], tenants: [] })
  agent = book.add({ principal: 'ci', roles: ['agent'], tenants: ['default'], agent: 'demo' })
  await book.write()
})
afterAll(async () => {
  await Promise.all(opened.map((server) => server.close()))
  await rm(folder, { recursive: true })
})

/** What the servers said in their logs. */
let logged = ''
const destination = { write: (line: string) => void (logged += line) }

async function open(
  http: Partial<Config['http']> = {},
  more: Partial<Config> = {},
  patience?: HttpPatience,
): Promise<HttpServer> {
  const config = { tokensFile, http: { ...testHttp, ...http }, ...more }
  const server = await openFront(config, destination, patience)
  opened.push(server)
  return server
}

test('a route that nobody has said anything about does not begin to be served', () => {
  expect(() => accessOf('GET', '/api/v1/new')).toThrow('nothing says who may call GET /api/v1/new')
  expect(() => accessOf('constructor', '')).toThrow()
})

describe('Host and Origin', () => {
  let url: string
  beforeAll(async () => {
    url = (await open({ hosts: ['gate.example', '[fd00::1]'], origins: ['https://console.example'] })).url
  })
  // Behind the door stands a bus that is away.
  const behind = 503

  test.each([
    ['gate.example', behind],
    ['GATE.example:8081', behind],
    ['localhost', behind],
    ['127.0.0.1:1', behind],
    ['[::1]', behind],
    ['[fd00::1]:8081', behind],
    ['evil.example', 421],
    ['gate.example.evil.example', 421],
    ['gate.example@evil.example', 400],
    ['gate.example/x', 400],
    ['gate.example.', 421],
  ])('Host "%s" is answered with %i', async (host, status) => {
    const answer = await ask(`${url}/api/v1/approvals`, { token: viewer, headers: { host } })
    expect(answer.status).toBe(status)
  })

  test.each([
    [{ origin: 'https://console.example' }, behind],
    [{ origin: 'https://console.example', 'sec-fetch-site': 'cross-site' }, behind],
    [{ 'sec-fetch-site': 'none' }, behind],
    [{ origin: 'https://console.example:444' }, 403],
    [{ origin: 'http://localhost:3000' }, 403],
    [{ origin: 'null' }, 403],
    [{ origin: '' }, 403],
    [{ 'sec-fetch-site': 'cross-site' }, 403],
  ])('a page that says %j is answered with %i', async (headers, status) => {
    const answer = await ask(`${url}/api/v1/approvals`, {
      token: viewer,
      headers: headers as Record<string, string>,
    })
    expect(answer.status).toBe(status)
  })

  test('a probe of health may call by any name, a reader of details may not', async () => {
    const headers = { host: '10.0.0.7:8081' }
    for (const path of ['/healthz', '/readyz']) expect((await ask(url + path, { headers })).status).toBe(200)
    for (const path of ['/metrics', '/readyz?verbose', '/readyz?verbose=x'])
      expect((await ask(url + path, { headers })).status).toBe(421)
    expect((await ask(`${url}/metrics`)).status).toBe(200)
  })
})

// A name for 127.0.0.1 that nobody would take for a loopback address.
const elsewhere = { host: '127.1', insecure: true }

describe('on an address that others reach', () => {
  test('metrics and details need a token, health does not', async () => {
    const { url } = await open(elsewhere)
    for (const path of ['/healthz', '/readyz', '/readyz?verbose=false'])
      expect((await ask(url + path, { headers: { host: '10.0.0.7' } })).status).toBe(200)
    for (const path of ['/metrics', '/readyz?verbose', '/readyz?verbose=1']) {
      expect((await ask(url + path)).status).toBe(401)
      expect((await ask(url + path, { token: agent })).code).toBe('forbidden')
      expect((await ask(url + path, { token: viewer, headers: { host: '10.0.0.7' } })).status).toBe(200)
    }
    const { text } = await ask(`${url}/readyz?verbose`, { token: viewer })
    expect(text).toContain('insecure: tokens cross the network in clear on 127.1')
  })

  test('without tokens nobody sees more than health', async () => {
    const { url } = await open(elsewhere, { tokensFile: undefined })
    expect((await ask(`${url}/healthz`)).status).toBe(200)
    for (const path of ['/metrics', '/readyz?verbose', '/api/v1/approvals'])
      expect([401, 404]).toContain((await ask(url + path, { token: viewer })).status)
  })
})

test('who asks too often is told when to come back, and others are not kept waiting', async () => {
  const { url } = await open({ ratePerSec: 1 })
  const asked = await until(async () => {
    const some = Array.from({ length: 20 }, () => ask(`${url}/api/v1/approvals`, { token: viewer }))
    const answers = await Promise.all(some)
    return answers.some(({ status }) => status === 429) && answers
  })
  const late = asked.find(({ status }) => status === 429)
  expect([late?.code, late?.headers['retry-after']]).toEqual(['rate_limited', '1'])
  expect(new Set(asked.map(({ status }) => status))).toEqual(new Set([429, 503]))
  expect((await ask(`${url}/api/v1/jobs/x`, { token: agent })).status).toBe(503)
})

test('ten thousand wrong tokens shut nobody out who has a right one, and the log says so in a line or two', async () => {
  const patient = { headersTimeoutMs: 6e5, requestTimeoutMs: 6e5, keepAliveTimeoutMs: 6e5, lookEveryMs: 6e5 }
  const { url } = await open({}, {}, patient)
  const wrong = Array.from({ length: 10_000 }, () => newToken())
  const before = logged.length
  const socket = connectTcp(Number(new URL(url).port), '127.0.0.1')
  const seen = new Map<string, number>()
  const answered = new Promise<void>((resolve, reject) => {
    socket.on('error', reject)
    let rest = ''
    let count = 0
    socket.setEncoding('utf8').on('data', (text: string) => {
      // The tail is kept: a status line may come in two pieces.
      const heard = rest + text
      for (const [, status = ''] of heard.matchAll(/HTTP\/1\.1 (\d{3}) /g)) {
        seen.set(status, (seen.get(status) ?? 0) + 1)
        if (++count === wrong.length) resolve()
      }
      rest = heard.slice(-12).replace(/^.*HTTP\/1\.1 \d{3} /s, '')
    })
  })
  // One after the other on one connection, without waiting for answers.
  for (const token of wrong)
    socket.write(
      `GET /api/v1/approvals HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`,
    )
  await answered
  expect([...seen.keys()].toSorted()).toEqual(['401', '429'])
  socket.destroy()
  expect((await ask(`${url}/api/v1/approvals`, { token: viewer })).status).toBe(503)
  const { text } = await ask(`${url}/metrics`)
  expect(text).toMatch(/^sluice_http_auth_failures_total\{reason="unknown"\} 10000$/m)
  const lines = logged
    .slice(before)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { msg: string; reason?: string })
  const told = lines.filter(({ reason }) => reason === 'unknown')
  expect(told.length).toBeGreaterThan(0)
  expect(told.length).toBeLessThan(100)
  for (const token of [viewer, agent, ...wrong.slice(0, 100)])
    for (const said of [logged, text]) {
      expect(said).not.toContain(token)
      expect(said).not.toContain(tokenHash(token))
    }
}, 300_000)

test('an allowance is for so many at once and so many a second, for each key', () => {
  let nowMs = 0
  const allowance = createAllowance({ perSec: 2, burst: 3, keysMax: 2 }, () => nowMs)
  expect([1, 2, 3, 4].map(() => allowance.take('a'))).toEqual([0, 0, 0, 500])
  expect(allowance.take('b')).toBe(0)
  nowMs = 250
  expect(allowance.take('a')).toBe(250)
  nowMs = 500
  expect([allowance.take('a'), allowance.take('a')]).toEqual([0, 500])
  // A third key has room, at the price of the one that was silent the longest.
  expect([allowance.take('c'), allowance.take('a')]).toEqual([0, 500])
  nowMs = 1_000_000
  expect([1, 2, 3, 4].map(() => allowance.take('a'))).toEqual([0, 0, 0, 500])
})

describe('who says too little, too slowly', () => {
  const short = { headersTimeoutMs: 300, requestTimeoutMs: 600, keepAliveTimeoutMs: 5_000, lookEveryMs: 50 }
  const asking =
    'POST /api/v1/policy/evaluate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
  test.each([
    ['half a header', () => 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: '],
    ['nothing at all', () => ''],
    ['half a body of nobody', () => `${asking}Content-Length: 9999\r\n\r\n{`],
    [
      'half a body of somebody',
      () => `${asking}Authorization: Bearer ${agent}\r\nContent-Length: 9999\r\n\r\n{`,
    ],
  ])('is cut off after %s', async (_, said) => {
    const { url } = await open({}, {}, short)
    const socket = connectTcp(Number(new URL(url).port), '127.0.0.1')
    const closed = new Promise<string>((resolve) => {
      let heard = ''
      socket.on('data', (chunk) => (heard += chunk.toString()))
      socket.on('error', () => undefined).on('close', () => resolve(heard))
    })
    socket.write(said())
    // A byte now and then does not buy time.
    const drip = setInterval(() => socket.write('x'), 100)
    try {
      expect(await closed).toMatch(/^(HTTP\/1\.1 (408|401|400) |$)/)
      expect((await ask(`${url}/healthz`)).status).toBe(200)
      // Whoever goes away in the middle is no failure of ours.
      expect(logged).not.toContain('http: failed')
    } finally {
      clearInterval(drip)
    }
  })
})

describe('TLS', () => {
  const first = selfSigned()
  let certFile: string
  let keyFile: string
  let server: HttpServer
  beforeAll(async () => {
    certFile = join(folder, 'tls.crt')
    keyFile = join(folder, 'tls.key')
    await put(first)
    server = await open({ tls: { certFile, keyFile } })
  })
  async function put({ cert, key }: { cert: string; key: string }): Promise<void> {
    for (const [file, text] of [
      [keyFile, key],
      [certFile, cert],
    ] as const) {
      await writeFile(`${file}.new`, text)
      await rename(`${file}.new`, file)
    }
  }
  const status = (ca: string, token = viewer): Promise<number | string> =>
    ask(`${server.url}/api/v1/approvals`, { token, ca }).then(
      (answer) => answer.status,
      (error: NodeJS.ErrnoException) => error.code ?? error.message,
    )

  test('answers over TLS, and asks for a token there as well', async () => {
    expect(server.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/)
    expect(await status(first.cert)).toBe(503)
    expect(await status(first.cert, 'x')).toBe(401)
    expect(await status(selfSigned().cert)).not.toBe(503)
  })

  test('a request in clear gets nothing', async () => {
    await expect(ask(`${server.url.replace('https:', 'http:')}/healthz`)).rejects.toThrow()
    expect(await status(first.cert)).toBe(503)
  })

  test.each([
    ['TLSv1', false],
    ['TLSv1.1', false],
    ['TLSv1.2', true],
    ['TLSv1.3', true],
  ] as const)('%s: %s', async (version, works) => {
    const socket = connectTls({
      port: Number(new URL(server.url).port),
      host: '127.0.0.1',
      ca: first.cert,
      minVersion: version,
      maxVersion: version,
      // Old versions need ciphers that OpenSSL no longer offers by itself.
      ciphers: 'DEFAULT@SECLEVEL=0',
    })
    const spoke = await new Promise<boolean>((resolve) => {
      socket.on('secureConnect', () => resolve(true)).on('error', () => resolve(false))
    })
    socket.destroy()
    expect(spoke).toBe(works)
  })

  test('a new certificate is served without a restart, and one without its key changes nothing', async () => {
    const second = selfSigned()
    const detail = async (): Promise<string> =>
      (
        await ask(`${server.url}/readyz?verbose`, {
          ca: (await status(first.cert)) === 503 ? first.cert : second.cert,
        })
      ).text
    await put({ cert: second.cert, key: selfSigned().key })
    await until(async () => (await detail()).includes('stale: the newest files do not fit together'))
    expect(await status(first.cert)).toBe(503)
    await put(second)
    await until(async () => (await status(second.cert)) === 503)
    expect(await status(first.cert)).not.toBe(503)
    expect(await detail()).not.toContain('stale')
    expect(await detail()).toContain('valid until 2049-12-31')
  })

  test('a certificate with the key of another does not begin to serve, and the words quote neither', async () => {
    await writeFile(join(folder, 'other.key'), selfSigned().key)
    const refused = open({ tls: { certFile, keyFile: join(folder, 'other.key') } })
    await expect(refused).rejects.toThrow(/are not a certificate with its key/)
    await expect(refused).rejects.not.toThrow(/PRIVATE/)
  })
})
