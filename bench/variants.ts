import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { spawnLeashed } from '../cli/dev/leash.ts'
import { newPasswords } from '../cli/dev/nats-conf.ts'
import { startNatsProcess, type NatsProcess } from '../cli/dev/nats-process.ts'
import { projectRoot } from '../cli/dev/project.ts'
import { startProvisionedNats } from '../cli/dev/provisioned-nats.ts'
import { createKeys } from '../gateway/keys.ts'
import { defaultLimits, gatewayConsumer, intakeStream } from '../gateway/streams.ts'
import { parseTopology, type Topology } from '../gateway/topology.ts'
import type { BareArgument } from './bare-gateway.ts'
import { startChild } from './children.ts'
import type { Constants, GatewayWord, Login } from './protocol.ts'

/** What stands between agent and worker, on a server of its own that is as new as everybody else's. */
export type Ground = {
  agent: Login
  worker: Login
  /** Absent where there is no trail to read. */
  auditor?: Login
  between: { pid: number; stop: () => Promise<void> }
  stop: () => Promise<void>
}

export type GroundOptions = { binary: string; profileDir: string | undefined }

const readyWithinMs = 30_000

/** The gateway as `sluice serve` runs it, with the demo's policy, accounts and streams. */
export async function governed({ binary, profileDir }: GroundOptions): Promise<Ground> {
  const server = await provisioned(binary)
  const keys = join(server.dir, 'keys.json')
  await createKeys(
    keys,
    server.topology.tenants.map(({ name }) => name),
  )
  const settings = {
    profile: 'dev',
    gateway: 'bench-1',
    'nats-url': server.url,
    'http-port': '0',
    policy: deployed('policy.yaml'),
    topology: deployed('topology.yaml'),
    keys,
  }
  let isUp: (() => void) | undefined
  const up = new Promise<void>((resolve) => (isUp = resolve))
  const lines: string[] = []
  const profile = profileDir === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', profileDir]
  const gateway = await spawnLeashed({
    command: process.execPath,
    args: [
      ...profile,
      join(projectRoot, 'dist', 'cli', 'main.js'),
      'serve',
      ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
    ],
    env: { ...process.env, SLUICE_NATS_PASSWORD: server.login('gateway').password },
    cwd: server.dir,
    onLine: (line) => {
      lines.push(line)
      if (line.includes('"gateway is up"')) isUp?.()
    },
  })
  const ended = gateway.exited.then(() => 'ended' as const)
  const late = new Promise<'late'>((resolve) => setTimeout(resolve, readyWithinMs, 'late').unref())
  const word = await Promise.race([up, ended, late])
  if (word !== undefined) {
    await gateway.stop()
    await server.stop()
    throw new Error(`the gateway did not come up:\n${lines.slice(-10).join('\n')}`)
  }
  return {
    agent: server.login('demo'),
    worker: server.login('helpdesk-1'),
    auditor: server.login('demo-auditor'),
    between: { pid: gateway.pid, stop: () => gateway.stop() },
    stop: server.stop,
  }
}

/** The same server, streams, users and bytes, without a decision. */
export async function bare({ binary }: GroundOptions, constants: Constants): Promise<Ground> {
  const server = await provisioned(binary)
  const argument: BareArgument = {
    ...server.login('gateway'),
    constants,
    stream: intakeStream('default', 'demo'),
    consumer: gatewayConsumer,
  }
  const gateway = startChild<never, GatewayWord>('bare-gateway', argument)
  gateway.onWord((word) => {
    if (word.type === 'failed') process.stderr.write(`bench: the bare gateway failed: ${word.why}\n`)
  })
  await gateway.word('ready', readyWithinMs)
  return {
    agent: server.login('demo'),
    worker: server.login('helpdesk-1'),
    auditor: server.login('demo-auditor'),
    between: gateway,
    stop: server.stop,
  }
}

/** A server without accounts and streams, and a process that sends every job on. */
export async function relay({ binary }: GroundOptions): Promise<Ground> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
  const server = await startNatsProcess({
    binary,
    conf: 'server_name: relay\n',
    passwords: {},
    storeDir: dir,
    port: -1,
  })
  const login = { url: server.url, inboxPrefix: '_INBOX' }
  const between = startChild<never, GatewayWord>('relay', login)
  await between.word('ready', readyWithinMs)
  return { agent: login, worker: login, between, stop: () => stopServer(server, dir) }
}

type Provisioned = {
  url: string
  dir: string
  topology: Topology
  login(user: string): Login
  stop: () => Promise<void>
}

async function provisioned(binary: string): Promise<Provisioned> {
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
  return {
    url: server.url,
    dir,
    topology,
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

async function stopServer(server: NatsProcess, dir: string): Promise<void> {
  await server.stop()
  await rm(dir, { recursive: true, force: true })
}

const deployed = (name: string): string => join(projectRoot, 'deploy', name)
