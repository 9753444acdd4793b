import { join } from 'node:path'

import {
  cacheDir,
  exists,
  fetchFromDebian,
  hasCommand,
  keep,
  naming,
  programFromDebian,
  succeeds,
  type DebianProgram,
  type Say,
} from './debian-package.ts'

const debian: DebianProgram = { name: 'nats-server', package: 'nats-server', size: '4 MB' }
/** The server release that the suite calls current, and that Go builds for those who have no other. */
const goModule = 'github.com/nats-io/nats-server/v2@v2.15.1'
const goTimeoutMs = 480_000

/** Where the server from Debian's package is kept. */
export const natsFromDebian = (env: NodeJS.ProcessEnv): string => programFromDebian(env, debian)
/** Where the server that Go built is kept. */
export const natsFromGo = (env: NodeJS.ProcessEnv): string =>
  join(cacheDir(env), 'nats-server-2.15.1', 'nats-server')

/** Debian's server, from the cache or fetched into it. */
export const fetchNats = (env: NodeJS.ProcessEnv, say: Say): Promise<string | undefined> =>
  fetchFromDebian(env, debian, say)

/** Builds the current release with Go, if Go is there. */
export async function buildWithGo(env: NodeJS.ProcessEnv, tell: Say): Promise<string | undefined> {
  const binary = natsFromGo(env)
  const say = naming(debian.name, tell)
  if (await exists(binary)) return binary
  if (!(await hasCommand(env, 'go'))) return undefined
  say('building a current release with Go into the cache (one to three minutes, once)')
  return keep(binary, async (scratch) => {
    const goEnv = { ...env, GOBIN: scratch, GOFLAGS: '' }
    const built = await succeeds(goEnv, 'go', ['install', goModule], scratch, goTimeoutMs, say)
    return built ? join(scratch, 'nats-server') : undefined
  })
}
