import { createServer, type IncomingMessage } from 'node:http'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { run as approval } from '../../cli/approval.ts'
import { run as control } from '../../cli/control.ts'
import { run as tokenRun } from '../../cli/token.ts'
import type { HttpServer } from '../../gateway/http/server.ts'
import { newToken, tokenHash } from '../../gateway/http/token.ts'
import { parseTokens, type TokenEntry } from '../../gateway/http/tokens-file.ts'
import { openFront } from '../helpers/front.ts'
import { testHttp } from '../helpers/gateway.ts'
import { testTerminal } from '../helpers/terminal.ts'
import { tokenBook } from '../helpers/tokens.ts'
import { demoTopology } from '../helpers/topology.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-token-'))
})
afterAll(() => rm(folder, { recursive: true }))

async function sluice(
  run: typeof tokenRun,
  args: string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ code: number; out: string; err: string }> {
  const terminal = testTerminal(env)
  const code = await run(args, terminal)
  return { code, out: terminal.outLines.join('\n'), err: terminal.errLines.join('\n') }
}
const create = (...args: string[]) => sluice(tokenRun, ['create', ...args])
const person = ['--principal', 'demo-approver', '--role', 'approver', '--tenant', 'default']

describe('sluice token create', () => {
  test('prints the token, which is all that pipes see, and the entry with its hash', async () => {
    const { code, out, err } = await create(...person, '--expires', '2030-01-31')
    expect([code, err.includes(out)]).toEqual([0, false])
    const entry = err.slice(err.indexOf('  - '))
    const parsed = parseTokens('t', `tokens:\n${entry}\n`, await demoTopology())
    expect(parsed.ok && parsed.value).toEqual([
      {
        principal: 'demo-approver',
        sha256: tokenHash(out),
        roles: ['approver'],
        tenants: ['default'],
        expires: '2030-01-31',
      },
    ])
  })

  test('adds to a file as it stands, which at first is for its owner alone', async () => {
    const file = join(folder, 'tokens.yaml')
    const first = await create(...person, '--file', file)
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    await writeFile(file, `# ours\n${await readFile(file, 'utf8')}  # the end\n`)
    const agent = ['--principal', 'ci', '--role', 'agent', '--tenant', 'acme', '--agent', 'support-bot']
    const second = await create(...agent, '--expires', '90d', '--file', file, '-o', 'json')
    const { token, entry } = JSON.parse(second.out) as { token: string; entry: TokenEntry }
    const text = await readFile(file, 'utf8')
    for (const comment of ['# ours', '# the end']) expect(text).toContain(comment)
    for (const made of [first.out, token]) expect(text).not.toContain(made)
    const parsed = parseTokens(file, text, await demoTopology())
    expect(parsed.ok && parsed.value.map(({ sha256 }) => sha256)).toEqual([
      tokenHash(first.out),
      tokenHash(token),
    ])
    const days = (Date.parse(entry.expires ?? '') - Date.now()) / 86_400_000
    expect(Math.round(days)).toBe(90)
    const listed = await sluice(tokenRun, ['ls', '--file', file])
    expect(listed.out).toMatch(/^demo-approver +approver +default +never +[0-9a-f]{12}$/m)
    expect(listed.out).toMatch(/^ci +agent +acme +support-bot +\S+ +[0-9a-f]{12}$/m)
    await writeFile(file, text.replace(/expires: .*/, 'expires: 2020-01-31'))
    expect((await sluice(tokenRun, ['ls', '--file', file])).out).toContain('2020-01-31 (expired)')
  })

  test.each(['tokens: []\n', '# nobody yet\n', ''])('adds to a file that says %j', async (text) => {
    const file = join(folder, 'few.yaml')
    await writeFile(file, text)
    const { code, out } = await create(...person, '--file', file)
    expect(code).toBe(0)
    const parsed = parseTokens(file, await readFile(file, 'utf8'))
    expect(parsed.ok && parsed.value.map(({ sha256 }) => sha256)).toEqual([tokenHash(out)])
  })

  test('leaves a file alone that is not one of tokens', async () => {
    const file = join(folder, 'other.yaml')
    await writeFile(file, 'rules: []\n')
    const { code, out, err } = await create(...person, '--file', file)
    expect([code, out]).toEqual([78, ''])
    expect(err).toMatch(/other\.yaml:1:1: unknown key "rules"/)
    expect(await readFile(file, 'utf8')).toBe('rules: []\n')
  })

  test.each([
    [[], /say who/],
    [['--principal', 'p'], /say what for: --role agent\|viewer/],
    [['--principal', 'p', '--role', 'viewer'], /say for whom/],
    [['--principal', 'p', '--role', 'boss', '--tenant', 'all'], /"boss" is not one of/],
    [['--principal', 'P', '--role', 'viewer', '--tenant', 'all'], /must be 1 to 32/],
    [['--principal', 'p', '--role', 'agent', '--tenant', 'all'], /exactly one tenant/],
    [
      ['--principal', 'p', '--role', 'viewer', '--tenant', 'all', '--expires', 'soon'],
      /--expires is like 90d/,
    ],
    [
      ['--principal', 'p', '--role', 'approver', '--tenant', 'all', '--topology', 'deploy/topology.yaml'],
      /must be an approver/,
    ],
  ])('%j cannot be meant, and makes no token', async (args, words) => {
    const { code, out, err } = await create(...args)
    expect([code, out]).toEqual([2, ''])
    expect(err).toMatch(words)
  })

  test('a scraper has a token for no tenant', async () => {
    const { out } = await create('--principal', 'p', '--role', 'viewer', '--tenant', 'none', '-o', 'json')
    expect(JSON.parse(out)).toMatchObject({ entry: { tenants: [] } })
  })
})

describe('commands that call a gateway', () => {
  let server: HttpServer
  let viewer: string
  beforeAll(async () => {
    const tokensFile = join(folder, 'front.yaml')
    const book = tokenBook(tokensFile)
    viewer = book.add({ principal: 'looker', roles: ['viewer'], tenants: 'all' })
    await book.write()
    server = await openFront({ tokensFile, http: testHttp }, { write: () => undefined })
  })
  afterAll(() => server.close())
  const list = (args: string[], env: NodeJS.ProcessEnv = {}) =>
    sluice(approval, ['ls', ...args], { SLUICE_URL: server.url, ...env })

  test('end with 77, the cause and what to do next when nobody knows them', async () => {
    const { code, err } = await list([])
    expect(code).toBe(77)
    expect(err).toMatch(/this needs a token.*\n.*set SLUICE_TOKEN or say --token-file/)
    expect(await list([], { SLUICE_TOKEN: newToken() })).toMatchObject({
      code: 77,
      err: expect.stringMatching(/nobody here knows this token/),
    })
  })

  test('end with 77 and the role that is missing', async () => {
    const stop = ['stop', '--all', '--reason', 'x']
    const { code, err } = await sluice(control, stop, { SLUICE_URL: server.url, SLUICE_TOKEN: viewer })
    expect(code).toBe(77)
    expect(err).toMatch(/this is for operator; the token's roles are viewer\n.*ask who runs the gateway/)
  })

  test('show the token of a flag, of a file or of the environment, in this order', async () => {
    const file = join(folder, 'mine')
    await writeFile(file, `${viewer}\n`)
    const wrong = newToken()
    // What is let in finds no bus behind this door.
    for (const [args, env, code] of [
      [[], { SLUICE_TOKEN: viewer }, 69],
      [['--token', viewer], { SLUICE_TOKEN: wrong }, 69],
      [['--token-file', file], { SLUICE_TOKEN: wrong }, 69],
      [['--token', wrong], { SLUICE_TOKEN: viewer }, 77],
    ] as const)
      expect((await list([...args], env)).code).toBe(code)
  })

  test('send nothing that is not a whole token, and say no token', async () => {
    for (const [args, env] of [
      [['--token', viewer.slice(1)], {}],
      [[], { SLUICE_TOKEN: 'another secret' }],
      [['--token-file', join(folder, 'none')], {}],
    ] as const) {
      const { code, err } = await list([...args], env)
      expect([code, err.includes(viewer.slice(1)), err.includes('another secret')]).toEqual([
        77,
        false,
        false,
      ])
    }
  })

  test('give the token to the gateway that was named, and to nobody else', async () => {
    const heard: IncomingMessage['headers'][] = []
    const other = createServer((request, response) => {
      heard.push(request.headers)
      if (request.url?.startsWith('/api') === true) response.writeHead(302, { Location: `${server.url}/x` })
      response.end('{}')
    })
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`
    const data = await mkdtemp(join(folder, 'data-'))
    await writeFile(join(data, 'ready.json'), JSON.stringify({ http_url: url }))
    const env = { SLUICE_TOKEN: viewer }
    await sluice(approval, ['ls', '--data-dir', data], env)
    expect(heard.map(({ authorization }) => authorization)).toEqual([undefined])
    const unnamed = await sluice(approval, ['ls', '--data-dir', data, '--token', viewer])
    expect([unnamed.code, unnamed.err]).toEqual([2, expect.stringContaining('say whom the token is for')])
    // And it follows nobody anywhere.
    expect((await sluice(approval, ['ls', '--url', url], env)).code).not.toBe(0)
    expect(heard.map(({ authorization }) => authorization)).toEqual([undefined, `Bearer ${viewer}`])
    other.close()
  })
})
