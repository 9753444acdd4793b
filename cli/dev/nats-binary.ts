import { execFile } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

import type { Say } from './debian-package.ts'
import { buildWithGo, fetchNats, natsFromDebian, natsFromGo } from './nats-fetch.ts'

const run = promisify(execFile)

/** A nats-server that runs: where it is, what it is and how we came by it. */
export type FoundNats = { binary: string; version: string; from: string }

export type NatsSearch = { ok: true; nats: FoundNats } | { ok: false; lines: string[] }

/** The oldest server whose JetStream has what the gate is built on. */
const floor = [2, 9] as const
const versionTimeoutMs = 10_000

/** Five lines to copy, for whoever has none of the ways we tried. */
export const waysToGetNats = [
  'apt-get install nats-server                                   # Debian, Ubuntu (as root)',
  'brew install nats-server                                      # macOS',
  'go install github.com/nats-io/nats-server/v2@latest           # then: export PATH="$PATH:$(go env GOPATH)/bin"',
  'docker cp "$(docker create nats)":/nats-server ./nats-server  # then: export SLUICE_NATS_SERVER="$PWD/nats-server"',
  'https://github.com/nats-io/nats-server/releases               # unpack, then: export SLUICE_NATS_SERVER=/path/to/nats-server',
]

/**
 * Finds a nats-server: the one named in `SLUICE_NATS_SERVER`, on the PATH, in our cache, in Debian's package, or built
 * by Go. What takes time is said before it begins.
 */
export async function findNats(env: NodeJS.ProcessEnv, say: Say): Promise<NatsSearch> {
  const named = env['SLUICE_NATS_SERVER']
  if (named !== undefined && named !== '') {
    const nats = await runs(named, 'SLUICE_NATS_SERVER')
    return nats === undefined
      ? { ok: false, lines: [`SLUICE_NATS_SERVER: ${named} is no nats-server 2.9 or newer`] }
      : { ok: true, nats }
  }
  const ways: (() => Promise<FoundNats | undefined>)[] = [
    () => onPath(env),
    () => runs(natsFromGo(env), 'cache'),
    () => runs(natsFromDebian(env), 'cache'),
    () => fetched(fetchNats(env, say), 'Debian package'),
    () => fetched(buildWithGo(env, say), 'go install'),
  ]
  for (const way of ways) {
    const nats = await way()
    if (nats !== undefined) return { ok: true, nats }
  }
  return {
    ok: false,
    lines: ['no nats-server here, and none could be fetched. Any of these helps:', ...waysToGetNats],
  }
}

export type TestServers = { debian: FoundNats | undefined; current: FoundNats | undefined }

/** The servers of the test suite: Debian's as the floor, and a current one; only one of them if only one is wanted. */
export async function findTestNats(
  env: NodeJS.ProcessEnv,
  say: Say,
  only?: keyof TestServers,
): Promise<TestServers> {
  const current = async (): Promise<FoundNats | undefined> => {
    const path = await onPath(env)
    const pathIsCurrent = path !== undefined && atLeast(path.version, [2, 11])
    return pathIsCurrent ? path : fetched(buildWithGo(env, say), 'go install')
  }
  return {
    debian: only === 'current' ? undefined : await fetched(fetchNats(env, say), 'Debian package'),
    current: only === 'debian' ? undefined : await current(),
  }
}

/** `2.9.10`, asked of the binary itself. */
export async function natsServerVersion(binary: string): Promise<string> {
  const { stdout } = await run(binary, ['--version'], { timeout: versionTimeoutMs })
  const version = /v(\d+\.\d+\.\d+\S*)/.exec(stdout)?.[1]
  if (version === undefined) throw new Error(`${binary} does not say which nats-server it is`)
  return version
}

async function onPath(env: NodeJS.ProcessEnv): Promise<FoundNats | undefined> {
  for (const folder of (env['PATH'] ?? '').split(delimiter).filter((entry) => entry !== '')) {
    const nats = await runs(join(folder, 'nats-server'), 'PATH')
    if (nats !== undefined) return nats
  }
  return undefined
}

async function fetched(binary: Promise<string | undefined>, from: string): Promise<FoundNats | undefined> {
  const path = await binary
  return path === undefined ? undefined : runs(path, from)
}

/** The binary, if it can be run here and is new enough. */
async function runs(binary: string, from: string): Promise<FoundNats | undefined> {
  try {
    await access(binary, constants.X_OK)
    const version = await natsServerVersion(binary)
    return atLeast(version, floor) ? { binary, version, from } : undefined
  } catch {
    return undefined
  }
}

function atLeast(version: string, [wantedMajor, wantedMinor]: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)
}
