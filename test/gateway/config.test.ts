import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { loadConfig, readSettings, type ConfigSources } from '../../gateway/config/config.ts'
import {
  defaults,
  flagsOf,
  profileDefaults,
  secretKeys,
  settingKeys,
  variablesOf,
} from '../../gateway/config/settings.ts'
import { scratchFolder } from '../helpers/scratch.ts'

describe('settings', () => {
  let folder: Awaited<ReturnType<typeof scratchFolder>>
  beforeEach(async () => {
    folder = await scratchFolder()
  })
  afterEach(() => folder.remove())

  const sources = (more: Partial<ConfigSources> = {}): ConfigSources => ({
    flags: {},
    env: {},
    cwd: folder.path,
    ...more,
  })
  const file = (text: string): Promise<void> => writeFile(join(folder.path, 'sluice.yaml'), text)
  const shown = async (key: string, from: ConfigSources) => {
    const settings = await readSettings(from)
    if (!settings.ok) throw new Error(settings.problems.join('\n'))
    return settings.shown.find((setting) => setting.key === key)
  }
  const problems = async (from: ConfigSources): Promise<string[]> => {
    const settings = await readSettings(from)
    return settings.ok ? [] : settings.problems
  }

  test('a flag wins over the environment, the environment over the file, the file over the default', async () => {
    const port = (origin: string, value: number) => ({ key: 'http.port', value, origin })
    expect(await shown('http.port', sources())).toEqual(port('default', 8081))
    await file('http:\n  port: 1001\n')
    expect(await shown('http.port', sources())).toEqual(port(`${join(folder.path, 'sluice.yaml')}:2`, 1001))
    const env = { SLUICE_HTTP_PORT: '1002' }
    expect(await shown('http.port', sources({ env }))).toEqual(port('SLUICE_HTTP_PORT', 1002))
    expect(await shown('http.port', sources({ env, flags: { 'http-port': '1003' } }))).toEqual(
      port('--http-port', 1003),
    )
  })

  test('the variables and flags of natscli set the connection, and ours win over them', async () => {
    const env = { NATS_URL: 'nats://there:4222' }
    expect(await shown('nats.url', sources({ env }))).toMatchObject({
      value: 'nats://there:4222',
      origin: 'NATS_URL',
    })
    for (const flag of ['server', 'nats-url'])
      expect(await shown('nats.url', sources({ env, flags: { [flag]: 'nats://said:4222' } }))).toEqual({
        key: 'nats.url',
        value: 'nats://said:4222',
        origin: `--${flag}`,
      })
    const nkey = { NATS_NKEY: '/etc/gateway.nk' }
    expect(await shown('nats.nkey_seed_file', sources({ env: nkey }))).toMatchObject({ origin: 'NATS_NKEY' })
    const both = { ...env, SLUICE_NATS_URL: 'nats://here:4222' }
    expect(await shown('nats.url', sources({ env: both }))).toMatchObject({ origin: 'SLUICE_NATS_URL' })
  })

  test('an unknown key is a problem with its line and the key that was meant', async () => {
    await file('profile: dev\nhttp:\n  prot: 8081\n')
    expect(await problems(sources())).toEqual([
      expect.stringMatching(/^sluice\.yaml:3:3: unknown key "prot"; did you mean "port"/),
    ])
  })

  test('what is wrong with a value says where it was said', async () => {
    expect(await problems(sources({ env: { SLUICE_HTTP_PORT: 'many' } }))).toEqual([
      expect.stringMatching(/^SLUICE_HTTP_PORT: http\.port /),
    ])
    expect(await problems(sources({ flags: { 'fail-mode': 'ajar' } }))).toEqual([
      expect.stringMatching(/^--fail-mode: fail_mode /),
    ])
  })

  test.each(['0.0.0.0', '192.168.1.5', '::', 'example.org', '127.0.0.1.example.org'])(
    'profile dev does not listen on %s',
    async (host) => {
      const flags = { profile: 'dev', 'http-host': host }
      expect(await problems(sources({ flags }))).toEqual([expect.stringContaining('loopback only')])
    },
  )

  test.each(['127.0.0.1', '127.0.0.53', 'localhost', '::1'])('profile dev listens on %s', async (host) => {
    expect(await problems(sources({ flags: { profile: 'dev', 'http-host': host } }))).toEqual([])
  })

  test('a decision must name what it is about, except in profile dev or where the file says so', async () => {
    const key = 'approvals.require_binding'
    expect(await shown(key, sources())).toEqual({ key, value: true, origin: 'default of profile standard' })
    const dev = sources({ flags: { profile: 'dev' } })
    expect(await shown(key, dev)).toEqual({ key, value: false, origin: 'default of profile dev' })
    await file('approvals:\n  require_binding: true\n')
    expect((await shown(key, dev))?.value).toBe(true)
    const env = { SLUICE_APPROVALS_REQUIRE_BINDING: 'false' }
    expect((await shown(key, sources({ env })))?.value).toBe(false)
    expect(await problems(sources({ env: { SLUICE_APPROVALS_REQUIRE_BINDING: 'no' } }))).toHaveLength(1)
  })

  test.each([
    [{ tokens: 't.yaml' }, undefined],
    [
      { tokens: 't.yaml', 'http-host': '0.0.0.0' },
      /in clear on 0\.0\.0\.0.*http\.tls_cert_file.*http\.insecure/,
    ],
    [{ tokens: 't.yaml', 'http-host': '0.0.0.0', 'http-insecure': 'true' }, undefined],
    [{ tokens: 't.yaml', 'http-host': '::', 'http-tls-cert-file': 'c', 'http-tls-key-file': 'k' }, undefined],
    [{ 'http-tls-cert-file': 'c' }, /both or none/],
    [{ 'http-tls-key-file': 'k' }, /both or none/],
    // Nothing secret crosses the network where nobody has a token.
    [{ 'http-host': '0.0.0.0' }, undefined],
    [{ profile: 'dev', tokens: 't.yaml' }, /profile is standard/],
    [{ 'http-hosts': 'gate.example:8081' }, /without a port/],
    [{ 'http-origins': 'https://a.example/' }, /https:\/\/gate\.example/],
  ])('what is asked of HTTP: %j', async (flags, problem) => {
    const expected = problem === undefined ? [] : [expect.stringMatching(problem)]
    expect(await problems(sources({ flags: flags as unknown as Record<string, string> }))).toEqual(expected)
  })

  test('failing open needs the topics written down, and topics need the mode written down', async () => {
    expect(await problems(sources({ flags: { 'fail-mode': 'open' } }))).toEqual([
      expect.stringContaining('fail_open_topics'),
    ])
    const topics = { 'fail-open-topics': 'job.a.read.*, job.b.>' }
    expect(await problems(sources({ flags: topics }))).toEqual([
      expect.stringContaining('fail_mode is closed'),
    ])
    const open = await shown('fail_open_topics', sources({ flags: { ...topics, 'fail-mode': 'open' } }))
    expect(open?.value).toEqual(['job.a.read.*', 'job.b.>'])
    expect(
      await problems(sources({ flags: { 'fail-mode': 'open', 'fail-open-topics': 'a.>.b' } })),
    ).toHaveLength(1)
  })

  test('a file that was asked for must be there; the one nobody asked for need not', async () => {
    expect(await problems(sources())).toEqual([])
    expect(await problems(sources({ flags: { config: 'other.yaml' } }))).toEqual([
      expect.stringContaining('ENOENT'),
    ])
  })

  test('files are looked for beside sluice.yaml, named there or not; what is said elsewhere, in the working directory', async () => {
    expect((await shown('keys', sources()))?.value).toBe(join(folder.path, 'keys.json'))
    await mkdir(join(folder.path, 'etc'))
    await writeFile(join(folder.path, 'etc', 'sluice.yaml'), 'policy: mine.yaml\n')
    const flags = { config: 'etc/sluice.yaml', topology: 'here.yaml' }
    const from = sources({ flags, env: { SLUICE_TOKENS: 'tokens.yaml' } })
    expect((await shown('policy', from))?.value).toBe(join(folder.path, 'etc', 'mine.yaml'))
    expect(await shown('keys', from)).toMatchObject({
      value: join(folder.path, 'etc', 'keys.json'),
      origin: 'default',
    })
    expect((await shown('topology', from))?.value).toBe(join(folder.path, 'here.yaml'))
    expect((await shown('tokens', from))?.value).toBe(join(folder.path, 'tokens.yaml'))
    await writeFile(join(folder.path, 'etc', 'sluice.yaml'), 'policy: base.yaml, /over/acme.yaml\n')
    expect((await shown('policy', from))?.value).toBe(
      `${join(folder.path, 'etc', 'base.yaml')},/over/acme.yaml`,
    )
  })

  test('secrets are read from their files and never shown', async () => {
    const secret = ['pass', 'word', 'of-the-gateway'].join('-')
    await writeFile(join(folder.path, 'secret'), `${secret}\n`)
    const loaded = await loadConfig(sources({ env: { SLUICE_NATS_PASSWORD_FILE: 'secret' } }))
    expect(loaded.ok && loaded.config.nats.credential).toEqual({ password: secret })
    const settings = await readSettings(sources({ env: { SLUICE_NATS_PASSWORD: secret } }))
    expect(settings.ok).toBe(true)
    if (settings.ok) expect(JSON.stringify(settings.shown)).not.toContain(secret)
    expect(await shown('nats.password', sources({ env: { SLUICE_NATS_PASSWORD: secret } }))).toMatchObject({
      value: '(set)',
    })
  })

  test('one credential, and the one that was said loudest', async () => {
    expect(await loadConfig(sources())).toEqual({
      ok: false,
      problems: [expect.stringContaining('no credential for NATS')],
    })
    const env = { SLUICE_NATS_PASSWORD: 'one', SLUICE_NATS_NKEY_SEED: 'two' }
    expect(await problems(sources({ env }))).toEqual([
      expect.stringContaining('say only one of nats.password, nats.nkey_seed'),
    ])
    await file('nats:\n  password_file: not-there\n')
    const loaded = await loadConfig(sources({ env: { SLUICE_NATS_PASSWORD: 'one' } }))
    expect(loaded.ok && loaded.config.nats.credential).toEqual({ password: 'one' })
  })

  test('every setting has a flag and a variable of its own', () => {
    expect(new Set(settingKeys.flatMap(flagsOf)).size).toBe(settingKeys.flatMap(flagsOf).length)
    expect(new Set(settingKeys.flatMap(variablesOf)).size).toBe(settingKeys.flatMap(variablesOf).length)
    const without = settingKeys.filter((key) => defaults[key] === undefined && !secretKeys.has(key))
    expect(without).toEqual([
      'nats.password_file',
      'nats.nkey_seed_file',
      'http.tls_cert_file',
      'http.tls_key_file',
      'tokens',
      ...Object.keys(profileDefaults.dev),
    ])
  })
})
