import { execFile } from 'node:child_process'
import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

import { connect } from '@nats-io/transport-node'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { readInputs } from '../../cli/dev/inputs.ts'
import { findNats } from '../../cli/dev/nats-binary.ts'
import { newPasswords, type Passwords } from '../../cli/dev/nats-conf.ts'
import type { NatsProcess } from '../../cli/dev/nats-process.ts'
import { freePort } from '../../cli/dev/ports.ts'
import { startProvisionedNats } from '../../cli/dev/provisioned-nats.ts'
import { ensureBuilt } from '../../cli/setup.mjs'
import { createKeys } from '../../gateway/config/keys.ts'
import { buildFromProgram, openDocker, type Docker } from '../helpers/docker.ts'

const base = 'sluice-test-node'
const image = 'sluice-test'

let docker: Docker | string
let folder: string
let nats: NatsProcess
let passwords: Passwords

beforeAll(async () => {
  docker = await openDocker('none')
  if (typeof docker === 'string') return
  folder = await mkdtemp(join(tmpdir(), 'sluice-image-test-'))
  await ensureBuilt()
  await buildFromProgram(docker, base, process.execPath, '/usr/local/bin/node')
  await buildImage(docker)
  nats = await startNats()
}, 180_000)
afterAll(async () => {
  if (typeof docker === 'string') return
  await docker.run('image', 'rm', '--force', image, base).catch(() => '')
  await nats.stop()
  await docker.stop()
  await rm(folder, { recursive: true, force: true })
}, 60_000)

/** What the head of the Dockerfile says, on the machine's own Node instead of a base that would have to be fetched. */
async function buildImage(on: Docker): Promise<void> {
  const clone = join(folder, 'clone')
  await mkdir(clone)
  for (const part of ['package.json', 'package-lock.json', 'nats.conf', '.dockerignore', 'deploy', 'dist'])
    await cp(part, join(clone, part), { recursive: true })
  const install = ['ci', '--omit=dev', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund']
  await promisify(execFile)('npm', install, { cwd: clone })
  await on.run(
    'build',
    '--quiet',
    '--build-arg',
    `BASE=${base}`,
    '--file',
    join(clone, 'deploy/Dockerfile'),
    '--tag',
    image,
    clone,
  )
}

/** A server with its streams, and beside it everything that a container mounts, readable for a user who is nobody. */
async function startNats(): Promise<NatsProcess> {
  const search = await findNats(process.env, () => undefined)
  const read = await readInputs(undefined, process.cwd())
  if (!search.ok || !read.ok) throw new Error('no nats-server, or the demo does not load')
  const { conf, topology, limits } = read.inputs
  passwords = newPasswords(topology)
  const start = { binary: search.nats.binary, conf, passwords, storeDir: join(folder, 'store'), port: -1 }
  const { server } = await startProvisionedNats({ ...start, topology, limits })
  const etc = join(folder, 'etc')
  await mkdir(etc)
  await createKeys(
    join(etc, 'keys.json'),
    topology.tenants.map(({ name }) => name),
  )
  await writeFile(join(etc, 'password'), passwords['gateway'] ?? '')
  for (const file of ['policy.yaml', 'topology.yaml']) await cp(join('deploy', file), join(etc, file))
  await writeFile(join(etc, 'sluice.yaml'), `nats:\n  url: ${server.url}\n  password_file: password\n`)
  await chmod(folder, 0o755)
  await chmod(join(etc, 'keys.json'), 0o644)
  return server
}

async function until(look: () => Promise<boolean>): Promise<void> {
  while (!(await look())) await sleep(100)
}

test(
  'a container that may write nothing and has no rights serves, decides, is healthy, and ends cleanly',
  { timeout: 120_000 },
  async ({ skip }) => {
    if (typeof docker === 'string') return skip(docker)
    const on = docker
    const port = await freePort(0)
    const id = await on.run(
      ...[
        'run',
        '--detach',
        '--network',
        'host',
        '--read-only',
        '--cap-drop',
        'ALL',
        '--security-opt',
        'no-new-privileges',
      ],
      ...['--volume', `${join(folder, 'etc')}:/etc/sluice:ro`, '--health-interval', '500ms'],
      ...['--env', 'SLUICE_HTTP_HOST=127.0.0.1', '--env', `SLUICE_HTTP_PORT=${port}`, image],
    )
    try {
      const state = (field: string): Promise<string> => on.run('inspect', '--format', `{{${field}}}`, id)
      await until(async () => {
        if ((await state('.State.Running')) !== 'true') throw new Error(await on.logs(id))
        return (await state('.State.Health.Status')) === 'healthy'
      })
      const pid = await state('.State.Pid')
      const status = await readFile(`/proc/${pid}/status`, 'utf8')
      expect(status).toMatch(/^Uid:\t10001\t10001\t10001\t10001$/m)
      expect(status).toMatch(/^CapEff:\t0+$/m)

      const agent = await connect({ servers: nats.url, user: 'demo', pass: passwords['demo'] ?? '' })
      const reply = await agent.request('job.mcp-bridge.read.get_ticket', '{}', { timeout: 10_000 })
      expect(reply.json()).toMatchObject({ state: 'DISPATCHED', decision: { type: 'ALLOW' } })
      await agent.close()
      expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200)
      // Without authentication nothing else is open.
      expect((await fetch(`http://127.0.0.1:${port}/api/v1/approvals`)).status).toBe(404)

      await on.run('stop', '--time', '20', id)
      expect(await state('.State.ExitCode')).toBe('0')
    } finally {
      await on.run('rm', '--force', id)
    }
  },
)

test(
  'without a configuration it does not start, and says what is missing',
  { timeout: 60_000 },
  async ({ skip }) => {
    if (typeof docker === 'string') return skip(docker)
    const failure = await docker.run('run', '--rm', '--network', 'none', '--read-only', image).then(
      () => undefined,
      (error: { code: number; stderr: string }) => error,
    )
    expect(failure).toMatchObject({
      code: 78,
      stderr: expect.stringContaining('/etc/sluice/sluice.yaml') as string,
    })
  },
)

test('the image has the production packages and no others', { timeout: 60_000 }, async ({ skip }) => {
  if (typeof docker === 'string') return skip(docker)
  const script = "console.log(require('fs').readdirSync('/app/node_modules').join(' '))"
  const packages = (
    await docker.run('run', '--rm', '--network', 'none', '--entrypoint', 'node', image, '-e', script)
  ).split(' ')
  expect(packages).toContain('hono')
  for (const name of ['vitest', 'typescript', 'testcontainers', '@oxlint', 'nats'])
    expect(packages).not.toContain(name)
})
