import { stat, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { ensureBuilt } from '../../cli/setup.mjs'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { scratchFolder } from '../helpers/scratch.ts'
import { sluice, type Ran } from '../helpers/sluice.ts'

describe('sluice provision', () => {
  let nats: TestNats
  let folder: Awaited<ReturnType<typeof scratchFolder>>
  beforeAll(async () => {
    await ensureBuilt()
    folder = await scratchFolder()
    nats = await startTestNats({ owner: 'stays', provisioned: false })
  })
  afterAll(async () => {
    await nats.stop()
    await folder.remove()
  })

  const provision = (args: string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Ran> =>
    sluice(['provision', '--topology', resolve('deploy/topology.yaml'), '--nats-url', nats.url, ...args], {
      env: { SLUICE_OWNER_PASSWORD: nats.passwords['owner'], ...env },
      cwd: folder.path,
    })
  const outcomes = ({ stdout }: Ran): string[] => [
    ...new Set((JSON.parse(stdout) as { outcome: string }[]).map(({ outcome }) => outcome)),
  ]

  test('only looks when asked to, and says that something is missing', async () => {
    const looked = await provision(['--check'])
    expect(looked.code).toBe(1)
    expect(looked.stdout).toMatch(/^drifted +stream +AUDIT\n +does not exist$/m)
  })

  test('makes everything, and has nothing to do the second time', async () => {
    const made = await provision(['-o', 'json'])
    expect([made.code, outcomes(made)]).toEqual([0, ['created']])
    const again = await provision(['-o', 'json'])
    expect([again.code, outcomes(again)]).toEqual([0, ['unchanged']])
    expect((await provision(['--check'])).code).toBe(0)
  })

  test('takes limits from the settings and the password from a file', async () => {
    const file = join(folder.path, 'owner')
    await writeFile(file, `${nats.passwords['owner']}\n`)
    const env = {
      SLUICE_OWNER_PASSWORD: undefined,
      SLUICE_OWNER_PASSWORD_FILE: file,
      SLUICE_LIMITS_APPROVALS_PENDING_MAX: '12',
    }
    const changed = await provision([], env)
    expect(changed.code).toBe(0)
    expect(changed.stdout).toMatch(/^updated +stream +APPROVALS\n +max_msgs is 100000, planned is 12$/m)
  })

  test('makes the key file that the gateways share, once, for its owner only', async () => {
    const keys = join(folder.path, 'keys.json')
    expect((await provision(['--create-keys', '--keys', keys])).code).toBe(0)
    const made = await stat(keys)
    expect(made.mode & 0o777).toBe(0o600)
    await provision(['--create-keys', '--keys', keys])
    expect((await stat(keys)).ino).toBe(made.ino)
  })

  test.each([
    ['without a password', { SLUICE_OWNER_PASSWORD: undefined }, 78, 'SLUICE_OWNER_PASSWORD'],
    ['with a wrong password', { SLUICE_OWNER_PASSWORD: 'pwrong' }, 77, 'as owner'],
    ['without a server', { SLUICE_NATS_URL: 'nats://127.0.0.1:1' }, 69, 'nats://127.0.0.1:1'],
  ])('%s ends with the code for it', async (_, env, code, words) => {
    const url = 'SLUICE_NATS_URL' in env ? [] : ['--nats-url', nats.url]
    const ran = await sluice(['provision', '--topology', resolve('deploy/topology.yaml'), ...url], {
      env: { SLUICE_OWNER_PASSWORD: nats.passwords['owner'], ...env },
      cwd: folder.path,
    })
    expect([ran.code, ran.stdout]).toEqual([code, ''])
    expect(ran.stderr).toContain(words)
  })
})
