import { resolve } from 'node:path'

import { beforeAll, describe, expect, test } from 'vitest'

import { ensureBuilt } from '../../cli/setup.mjs'
import { settingKeys } from '../../gateway/config/settings.ts'
import { sluice, type Ran } from '../helpers/sluice.ts'

const inDeploy = (args: string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> =>
  sluice(args, { env, cwd: resolve('deploy') })

describe('sluice config show', () => {
  beforeAll(() => ensureBuilt())

  test('reads the file in deploy/, which says every setting but credentials and the files of HTTP', async () => {
    const { code, stdout } = await inDeploy(['config', 'show', '-o', 'json'])
    expect(code).toBe(0)
    const shown = JSON.parse(stdout) as { key: string; value: unknown; origin: string }[]
    const http = ['http.tls_cert_file', 'http.tls_key_file', 'tokens']
    const unsaid = ['nats.password', 'nats.nkey_seed', 'nats.nkey_seed_file', ...http]
    expect(shown.map(({ key }) => key)).toEqual(settingKeys.filter((key) => !unsaid.includes(key)))
    for (const { origin } of shown) expect(origin).toMatch(/deploy\/sluice\.yaml:\d+$/)
  })

  test('shows value and origin, and never a secret', async () => {
    const secret = ['se', 'cret'].join('')
    const { stdout } = await inDeploy(['config', 'show', '--http-port', '9000'], {
      SLUICE_NATS_PASSWORD: secret,
    })
    expect(stdout).toMatch(/^http\.port +9000 +--http-port$/m)
    expect(stdout).toMatch(/^nats\.password +\(set\) +SLUICE_NATS_PASSWORD$/m)
    expect(stdout).toMatch(/^fail_mode +closed +\S+sluice\.yaml:\d+$/m)
    expect(stdout).not.toContain(secret)
  })

  test('what cannot be is said by line, and ends with 78', async () => {
    const { code, stderr, stdout } = await inDeploy(['config', 'show'], { SLUICE_FAIL_MODE: 'open' })
    expect({ code, stdout }).toEqual({ code: 78, stdout: '' })
    expect(stderr).toContain('fail_open_topics')
  })

  test('an option or a command that nobody knows ends with 2 and says which was meant', async () => {
    expect(await inDeploy(['config', 'show', '--http-prot', '1'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('did you mean --http-port?'),
    })
    expect(await inDeploy(['confg'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('did you mean config?'),
    })
    expect(await inDeploy(['constructor'])).toMatchObject({ code: 2 })
  })

  test('every command says what it is for', async () => {
    const { code, stdout } = await inDeploy(['--help'])
    expect(code).toBe(0)
    const commands = [...stdout.matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, name = '']) => name)
    expect(commands).toEqual(expect.arrayContaining(['dev', 'serve', 'provision', 'config']))
    for (const name of commands) {
      const help = await inDeploy([name, '--help'])
      expect([name, help.code, help.stdout.startsWith(`usage: sluice ${name}`)]).toEqual([name, 0, true])
    }
  })
})
