import { spawn } from 'node:child_process'
import { access, chmod, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'

/** Tells the person who waits what is going on. */
export type Say = (line: string) => void

/** The server release that the suite calls current, and that Go builds for those who have no other. */
const goModule = 'github.com/nats-io/nats-server/v2@v2.15.1'

const downloadTimeoutMs = 60_000
const updateTimeoutMs = 120_000
const unpackTimeoutMs = 30_000
const goTimeoutMs = 480_000
const stillAtItEveryMs = 10_000

/** Where the server from Debian's package is kept. */
export const natsFromDebian = (env: NodeJS.ProcessEnv): string =>
  join(cacheDir(env), 'nats-server-debian', 'nats-server')
/** Where the server that Go built is kept. */
export const natsFromGo = (env: NodeJS.ProcessEnv): string =>
  join(cacheDir(env), 'nats-server-2.15.1', 'nats-server')

/** Downloads Debian's package and unpacks it into our cache: needs no root, installs nothing, starts no service. */
export async function fetchFromDebian(env: NodeJS.ProcessEnv, say: Say): Promise<string | undefined> {
  const binary = natsFromDebian(env)
  if (await exists(binary)) return binary
  if (!(await hasCommand(env, 'apt-get')) || !(await hasCommand(env, 'dpkg-deb'))) return undefined
  say('nats-server: fetching the Debian package (4 MB) into the cache')
  return keep(binary, async (scratch) => {
    const deb = (await download(env, scratch, [], say)) ?? (await downloadWithOwnLists(env, scratch, say))
    if (deb === undefined) return undefined
    const unpacked = join(scratch, 'unpacked')
    if (!(await succeeds(env, 'dpkg-deb', ['-x', deb, unpacked], scratch, unpackTimeoutMs, say)))
      return undefined
    for (const folder of ['usr/sbin', 'usr/bin']) {
      const candidate = join(unpacked, folder, 'nats-server')
      if (await exists(candidate)) return candidate
    }
    return undefined
  })
}

/** Builds the current release with Go, if Go is there. */
export async function buildWithGo(env: NodeJS.ProcessEnv, say: Say): Promise<string | undefined> {
  const binary = natsFromGo(env)
  if (await exists(binary)) return binary
  if (!(await hasCommand(env, 'go'))) return undefined
  say('nats-server: building a current release with Go into the cache (one to three minutes, once)')
  return keep(binary, async (scratch) => {
    const goEnv = { ...env, GOBIN: scratch, GOFLAGS: '' }
    const built = await succeeds(goEnv, 'go', ['install', goModule], scratch, goTimeoutMs, say)
    return built ? join(scratch, 'nats-server') : undefined
  })
}

function cacheDir(env: NodeJS.ProcessEnv): string {
  return join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'sluice')
}

async function download(
  env: NodeJS.ProcessEnv,
  scratch: string,
  options: readonly string[],
  say: Say,
): Promise<string | undefined> {
  // As root, apt would hand the download to a user who may not write here.
  const args = ['-o', 'APT::Sandbox::User=root', ...options, 'download', 'nats-server']
  if (!(await succeeds(env, 'apt-get', args, scratch, downloadTimeoutMs, say))) return undefined
  const name = (await readdir(scratch)).find((entry) => entry.endsWith('.deb'))
  return name === undefined ? undefined : join(scratch, name)
}

/** The machine's package lists are missing or old. We read our own, and leave the machine's as they are. */
async function downloadWithOwnLists(
  env: NodeJS.ProcessEnv,
  scratch: string,
  say: Say,
): Promise<string | undefined> {
  say('nats-server: reading the package lists (they are missing or old)')
  const lists = join(scratch, 'lists')
  await mkdir(join(lists, 'partial'), { recursive: true })
  await mkdir(join(scratch, 'cache', 'archives', 'partial'), { recursive: true })
  const own = [
    '-o',
    `Dir::State::Lists=${lists}`,
    '-o',
    `Dir::Cache=${join(scratch, 'cache')}`,
    '-o',
    'Debug::NoLocking=1',
  ]
  const update = ['-o', 'APT::Sandbox::User=root', ...own, 'update']
  if (!(await succeeds(env, 'apt-get', update, scratch, updateTimeoutMs, say))) return undefined
  return download(env, scratch, own, say)
}

/** Makes a file in a scratch folder and moves it into the cache in one step, so that a half-made one is never found. */
async function keep(
  binary: string,
  make: (scratch: string) => Promise<string | undefined>,
): Promise<string | undefined> {
  const folder = join(binary, '..')
  await mkdir(folder, { recursive: true })
  const scratch = await mkdtemp(`${folder}-`)
  try {
    const made = await make(scratch)
    if (made === undefined) return undefined
    await chmod(made, 0o755)
    await rename(made, binary)
    return binary
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

/** Runs a command to its end. Its output is shown only if it fails; a long silence is broken every ten seconds. */
async function succeeds(
  env: NodeJS.ProcessEnv,
  command: string,
  args: readonly string[],
  cwd: string,
  timeoutMs: number,
  say: Say,
): Promise<boolean> {
  const startedMs = performance.now()
  const lines: string[] = []
  const child = spawn(command, args, {
    cwd,
    env: { ...env, LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  })
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8')
    stream.on('data', (text: string) => lines.push(...text.split('\n').filter((line) => line.trim() !== '')))
  }
  const timer = setInterval(() => {
    say(`nats-server: still at it, ${Math.round((performance.now() - startedMs) / 1000)} s`)
  }, stillAtItEveryMs)
  const ended = await new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, signal) => resolve(code === 0 ? '' : `ended with ${code ?? signal}`))
  })
  clearInterval(timer)
  if (ended !== '') say(`nats-server: ${command} ${ended}${lines.length > 0 ? `: ${lines.at(-1)}` : ''}`)
  return ended === ''
}

async function hasCommand(env: NodeJS.ProcessEnv, command: string): Promise<boolean> {
  const folders = (env['PATH'] ?? '').split(delimiter).filter((entry) => entry !== '')
  return (await Promise.all(folders.map((folder) => exists(join(folder, command))))).some(Boolean)
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
