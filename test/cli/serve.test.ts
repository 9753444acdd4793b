import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { ensureBuilt } from '../../cli/setup.mjs'
import { createKeys } from '../../gateway/config/keys.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { scratchFolder } from '../helpers/scratch.ts'
import { sluice, type Ran } from '../helpers/sluice.ts'

describe('sluice serve ends with a code that says who has to do something', () => {
  let nats: TestNats
  let folder: Awaited<ReturnType<typeof scratchFolder>>
  beforeAll(async () => {
    await ensureBuilt()
    folder = await scratchFolder()
    nats = await startTestNats()
    await createKeys(join(folder.path, 'keys.json'), ['default', 'acme'])
    await writeFile(join(folder.path, 'bad.yaml'), 'version: v1\nrulez: []\n')
  })
  afterAll(async () => {
    await nats.stop()
    await folder.remove()
  })

  const serve = (more: Record<string, string>, env: NodeJS.ProcessEnv = {}): Promise<Ran> => {
    const settings = {
      profile: 'dev',
      'nats-url': nats.url,
      'http-port': '0',
      policy: resolve('deploy/policy.yaml'),
      topology: resolve('deploy/topology.yaml'),
      keys: 'keys.json',
      ...more,
    }
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
    return sluice(['serve', ...args], {
      env: { SLUICE_NATS_PASSWORD: nats.passwords['gateway'], ...env },
      cwd: folder.path,
    })
  }

  test.each([
    ['a policy that does not load', { policy: 'bad.yaml' }, 78, /bad\.yaml:2:1: .*rulez.*rules/],
    ['a policy that is not there', { policy: 'none.yaml' }, 78, /none\.yaml/],
    ['a topology that is not there', { topology: 'none.yaml' }, 78, /none\.yaml cannot be read/],
    ['a key file that is not there', { keys: 'none.json' }, 78, /setting keys: .*none\.json.*--create-keys/],
    ['profile dev on an address of the network', { 'http-host': '0.0.0.0' }, 78, /loopback only/],
    ['tokens in profile dev', { tokens: 'tokens.yaml' }, 78, /with tokens the profile is standard/],
    [
      'tokens that would cross the network in clear',
      { profile: 'standard', tokens: 'tokens.yaml', 'http-host': '0.0.0.0' },
      78,
      /in clear on 0\.0\.0\.0/,
    ],
    [
      'tokens that are not there',
      { profile: 'standard', tokens: 'none.yaml' },
      78,
      /none\.yaml cannot be read/,
    ],
    ['tokens that do not load', { profile: 'standard', tokens: 'bad.yaml' }, 78, /bad\.yaml:1:1: .*version/],
    [
      'a certificate that is none',
      { profile: 'standard', 'http-tls-cert-file': 'bad.yaml', 'http-tls-key-file': 'keys.json' },
      78,
      /not a certificate with its key/,
    ],
    [
      'no server',
      { 'nats-url': 'nats://127.0.0.1:1' },
      69,
      /no NATS server answers at nats:\/\/127\.0\.0\.1:1;/,
    ],
  ])('%s', async (_, settings, code, words) => {
    const ran = await serve(settings)
    expect(ran.stderr).toMatch(words)
    expect(ran.code).toBe(code)
  })

  test('a password that the server does not take', async () => {
    const ran = await serve({}, { SLUICE_NATS_PASSWORD: 'pwrong' })
    expect([ran.code, ran.stderr]).toEqual([77, expect.stringContaining('does not let user gateway in')])
  })
})
