import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { credentialsOf } from '../../cli/dev/credentials.ts'
import { run } from '../../cli/nats.ts'
import type { Proof } from '../../cli/nats-attempt.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { testTerminal } from '../helpers/terminal.ts'

let nats: TestNats
let folder: string
let ready: string

beforeAll(async () => {
  nats = await startTestNats({
    conf: (text) => text.replace('"hb.helpdesk-1"', '"hb.helpdesk-1", "hb.helpdesk-2"'),
  })
  folder = await mkdtemp(join(tmpdir(), 'sluice-verify-'))
  ready = join(folder, 'ready.json')
  const credentials = credentialsOf(nats.topology, nats.passwords)
  await writeFile(ready, JSON.stringify({ ready: true, nats_url: nats.url, credentials }))
})
afterAll(async () => {
  await nats.stop()
  await rm(folder, { recursive: true })
})

type Done = { code: number; out: string[]; err: string; acts: Proof[] }

async function verify(args: string[], env: Record<string, string> = {}): Promise<Done> {
  const terminal = testTerminal({ SLUICE_DATA_DIR: folder, ...env })
  const code = await run(['verify', ...args], terminal)
  const last = terminal.outLines.at(-1) ?? ''
  const { acts } = last.startsWith('{') ? (JSON.parse(last) as { acts: Proof[] }) : { acts: [] }
  return { code, out: terminal.outLines, err: terminal.errLines.join('\n'), acts }
}

describe('sluice nats verify', () => {
  test('finds a permission that is one too many, names it, and ends with 1', async () => {
    const done = await verify([])
    expect(done.code).toBe(1)
    expect(done.out.filter((line) => line.startsWith('LEAK')).join('\n')).toMatch(
      /^LEAK +helpdesk-1 +refused +allowed +publish hb\.helpdesk-2$/,
    )
    expect(done.out.at(-1)).toMatch(/^\d+ acts, 1 not as expected$/)
    expect(done.err).toContain("gateway's own user was not tried")
  })

  test('-o json has every act, with what was expected and what was seen', async () => {
    const { acts, code } = await verify(['-o', 'json'])
    expect(code).toBe(1)
    expect(acts.filter(({ ok }) => !ok)).toEqual([
      {
        id: 'helpdesk-1/publish/hb.helpdesk-2',
        role: 'worker',
        user: 'helpdesk-1',
        act: 'publish hb.helpdesk-2',
        expected: 'refused',
        observed: 'allowed',
        ok: false,
      },
    ])
    expect(acts.length).toBeGreaterThan(1_000)
  })

  test('tries the gateway too when it may know its password', async () => {
    const env = { SLUICE_GATEWAY_PASSWORD: nats.passwords['gateway'] ?? '' }
    const { acts, err } = await verify(['-o', 'json'], env)
    const tried = acts.filter(({ role }) => role === 'gateway')
    expect(tried.some(({ act }) => act.includes('Nats-Rollup'))).toBe(true)
    expect(tried.filter(({ ok }) => !ok)).toEqual([])
    expect(err).toBe('')
  })

  test('--readonly publishes nothing but questions', async () => {
    const { acts, code } = await verify(['--readonly', '-o', 'json'])
    const published = acts.map(({ act }) => act).filter((act) => act.startsWith('publish'))
    expect(
      published.filter((act) => !/^publish (\$JS|gov)\.API\.[A-Z.]*(INFO|GET|LIST|NAMES)/.test(act)),
    ).toEqual([])
    expect(acts.some(({ expected }) => expected === 'not heard')).toBe(true)
    // What leaked was a publish.
    expect(code).toBe(0)
  })

  test.each([
    ['nobody listens there', ['--url', 'nats://127.0.0.1:1'], 69],
    ['the file is not there', ['--credentials', 'nowhere.json'], 78],
    ['the file is another one', ['--credentials', 'package.json'], 78],
  ])('proves nothing and says so when %s', async (_, args, code) => {
    const done = await verify(args)
    expect(done).toMatchObject({ code, out: [] })
    expect(done.err).not.toBe('')
  })

  test('proves nothing when the server does not know somebody', async () => {
    const file = join(folder, 'stranger.json')
    const [first] = credentialsOf(nats.topology, nats.passwords)
    await writeFile(
      file,
      JSON.stringify({ nats_url: nats.url, credentials: [{ ...first, user: 'mallory' }] }),
    )
    expect(await verify(['--credentials', file])).toMatchObject({ code: 77, out: [] })
  })
})
