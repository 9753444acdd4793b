import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { nkeys } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { findNats } from '../../cli/dev/nats-binary.ts'
import { newPasswords, passwordEnvironment } from '../../cli/dev/nats-conf.ts'
import { run } from '../../cli/nats.ts'
import { demoNatsConf, natsConf, natsUsers, passwordVariable } from '../../gateway/nats/conf.ts'
import { demoTopology } from '../helpers/topology.ts'
import { testTerminal } from '../helpers/terminal.ts'

const execute = promisify(execFile)
const topology = await demoTopology()
let folder: string
let binary: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-conf-'))
  const search = await findNats(process.env, () => undefined)
  if (!search.ok) throw new Error(search.lines.join('\n'))
  ;({ binary } = search.nats)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function conf(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const terminal = testTerminal()
  const code = await run(['conf', '--topology', 'deploy/topology.yaml', ...args], terminal)
  return { code, out: terminal.outLines.join('\n'), err: terminal.errLines.join('\n') }
}

/** Throws with the server's words if it does not take the configuration. */
async function serverTakes(text: string, more: Record<string, string> = {}): Promise<void> {
  const file = join(folder, 'try.conf')
  await writeFile(file, text)
  const env = { ...process.env, ...passwordEnvironment(newPasswords(topology)), ...more }
  await execute(binary, ['-t', '-c', file], { env })
}

async function credentialFile(name: string, valueOf: (user: string) => string): Promise<string> {
  const file = join(folder, name)
  await writeFile(
    file,
    natsUsers(topology)
      .map((user) => `${user}: "${valueOf(user)}"\n`)
      .join(''),
  )
  return file
}

describe('sluice nats conf', () => {
  test('is one JSON object for programs', async () => {
    const { code, out } = await conf('-o', 'json')
    expect(code).toBe(0)
    expect(JSON.parse(out)).toEqual({ conf: (await conf()).out })
  })

  test('writes the nats.conf of this project, byte for byte', async () => {
    expect(natsConf(topology, demoNatsConf)).toBe(await readFile('nats.conf', 'utf8'))
    const said = await conf()
    expect(`${said.out}\n`).toBe(await readFile('nats.conf', 'utf8'))
    expect(said.code).toBe(0)
  })

  test('names public keys and no password but the one of the owner of the streams', async () => {
    const keys = new Map(natsUsers(topology).map((user) => [user, nkeys.createUser().getPublicKey()]))
    const { out } = await conf('--nkeys', await credentialFile('nkeys.yaml', (user) => keys.get(user) ?? ''))
    expect([...out.matchAll(/nkey: (\w+)/g)].map(([, key]) => key)).toEqual([...keys.values()])
    expect([...out.matchAll(/password: (\S+),/g)].map(([, one]) => one)).toEqual(['$SLUICE_OWNER_PASSWORD'])
    await serverTakes(out)
  })

  test('takes bcrypt hashes instead of passwords', async () => {
    const hash = ['$2a$11$', '3kIDaCxw.Glsl1.u5nKa6eUnNDLV5HV9tIuUp7EHhMt6Nm9myW1aS'].join('')
    const { out } = await conf('--bcrypt', await credentialFile('bcrypt.yaml', () => hash))
    expect(out.split(`password: "${hash}"`).length - 1).toBe(natsUsers(topology).length)
    await serverTakes(out)
  })

  test('writes a TLS block that the server takes', async () => {
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    const made = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
    ]
    await execute('openssl', [...made, '-subj', '/CN=localhost', '-keyout', key, '-out', cert])
    const { out } = await conf('--tls', cert, key, cert, '--listen', '0.0.0.0:4333')
    expect(out).toContain('listen: 0.0.0.0:4333\n')
    expect(out).toContain(`cert_file: "${cert}"`)
    await serverTakes(out)
  })

  test('leaves out the people of a topology that has none', async () => {
    const none = natsConf(
      { ...topology, approvers: [], auditors: [], operators: [], groups: {}, roles: {} },
      demoNatsConf,
    )
    expect(none).not.toContain('OPS')
    await serverTakes(none)
  })

  test('exports the jobs of a tenant once, to each of its accounts', async () => {
    const agent = (name: string, account: string) => ({ name, account, user: name })
    const agents = [
      agent('a', 'ONE'),
      agent('b', 'ONE'),
      agent('c', 'TWO'),
      agent('d', 'TWO'),
      agent('e', 'THREE'),
    ]
    const text = natsConf({ ...topology, tenants: [{ name: 'many', agents }] }, demoNatsConf)
    expect(text).toContain('{ service: "job.many.>", accounts: [ONE, TWO] }')
    expect(text).toContain('{ service: "job.many.e.>", accounts: [THREE] }')
    const env = Object.fromEntries(agents.map(({ user }) => [passwordVariable(user), 'pass']))
    await serverTakes(text, env)
  })

  test.each([
    ['a file that names not everybody', ['--nkeys', 'nats.conf'], 78],
    ['a topology that is not there', ['--topology', 'nowhere.yaml'], 78],
    ['half a TLS block', ['--tls', 'cert.pem', 'key.pem'], 2],
    ['two kinds of credentials', ['--nkeys', 'a', '--bcrypt', 'b'], 2],
    ['an address that would write more than an address', ['--listen', '0.0.0.0:1\ndebug: true'], 2],
  ])('refuses %s', async (_, args, code) => {
    const said = await conf(...args)
    expect(said).toMatchObject({ code, out: '' })
    expect(said.err).not.toBe('')
  })

  test('a credential of somebody who is in no topology is a problem with its line', async () => {
    const file = join(folder, 'more.yaml')
    const keys = natsUsers(topology).map((user) => `${user}: ${nkeys.createUser().getPublicKey()}\n`)
    await writeFile(file, `${keys.join('')}mallory: ${nkeys.createUser().getPublicKey()}\n`)
    expect((await conf('--nkeys', file)).err).toMatch(new RegExp(`more.yaml:${keys.length + 1}:1: .*mallory`))
  })
})
