import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { spawnLeashed } from '../cli/dev/leash.ts'
import { newPasswords } from '../cli/dev/nats-conf.ts'
import type { NatsProcess } from '../cli/dev/nats-process.ts'
import { projectRoot } from '../cli/dev/project.ts'
import { startProvisionedNats } from '../cli/dev/provisioned-nats.ts'
import { createKeys } from '../gateway/config/keys.ts'
import { defaultLimits } from '../gateway/nats/streams.ts'
import { parseTopology } from '../gateway/config/topology.ts'
import type { Login } from './protocol.ts'

/** A new server with the demo's accounts and streams, all empty, and what a gateway on it needs. */
export type Provisioned = {
  url: string
  dir: string
  keys: string
  login(user: string): Login
  stop: () => Promise<void>
}

/** A gateway as `sluice serve` runs it, in a process of its own. */
export type Serving = { pid: number; httpUrl: string; stop: () => Promise<void> }

const readyWithinMs = 60_000

/** Starts the server and makes its streams and keys. */
export async function provisioned(binary: string): Promise<Provisioned> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
  const file = deployed('topology.yaml')
  const parsed = parseTopology(file, await readFile(file, 'utf8'))
  if (!parsed.ok) throw new Error(`${file} does not load`)
  const topology = parsed.value
  const passwords = newPasswords(topology)
  const conf = await readFile(join(projectRoot, 'nats.conf'), 'utf8')
  const storeDir = join(dir, 'nats')
  const start = { binary, conf, passwords, storeDir, port: -1, topology, limits: defaultLimits }
  const { server } = await startProvisionedNats(start)
  const keys = join(dir, 'keys.json')
  await createKeys(
    keys,
    topology.tenants.map(({ name }) => name),
  )
  return {
    url: server.url,
    dir,
    keys,
    login: (user) => ({
      url: server.url,
      user,
      password: passwords[user] ?? '',
      // The demo agent is alone in its account and has every client's inbox.
      inboxPrefix: user === 'demo' ? '_INBOX' : `_INBOX_${user}`,
    }),
    stop: () => stopServer(server, dir),
  }
}

/** What is not as everywhere: the policy's file, or the program that runs the gateway. */
export type Instead = { policy?: string; program?: readonly string[] }

/** Starts a gateway with the demo's policy and waits until it is up; throws its last words if it does not come up. */
export async function serve(
  server: Provisioned,
  profileDir: string | undefined,
  instead: Instead = {},
): Promise<Serving> {
  const settings = {
    profile: 'dev',
    gateway: 'bench-1',
    'nats-url': server.url,
    'http-port': '0',
    policy: instead.policy ?? deployed('policy.yaml'),
    topology: deployed('topology.yaml'),
    keys: server.keys,
  }
  let isUp: (() => void) | undefined
  const up = new Promise<void>((resolve) => (isUp = resolve))
  const lines: string[] = []
  let httpUrl = ''
  const profile = profileDir === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', profileDir]
  const gateway = await spawnLeashed({
    command: process.execPath,
    args: [
      ...profile,
      ...(instead.program ?? [join(projectRoot, 'dist', 'cli', 'main.js'), 'serve']),
      ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
    ],
    env: { ...process.env, SLUICE_NATS_PASSWORD: server.login('gateway').password },
    cwd: server.dir,
    onLine: (line) => {
      lines.push(line)
      if (!line.includes('"gateway is up"')) return
      httpUrl = (JSON.parse(line) as { http: string }).http
      isUp?.()
    },
  })
  const ended = gateway.exited.then(() => 'ended' as const)
  const late = new Promise<'late'>((resolve) => setTimeout(resolve, readyWithinMs, 'late').unref())
  const word = await Promise.race([up, ended, late])
  if (word !== undefined) {
    await gateway.stop()
    throw new Error(`the gateway did not come up:\n${lines.slice(-10).join('\n')}`)
  }
  return { pid: gateway.pid, httpUrl, stop: () => gateway.stop() }
}

/** Stops it and removes its files. */
export async function stopServer(server: NatsProcess, dir: string): Promise<void> {
  await server.stop()
  await rm(dir, { recursive: true, force: true })
}

const deployed = (name: string): string => join(projectRoot, 'deploy', name)
