import { spawn } from 'node:child_process'
import { access, chmod, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'

/** Tells the person who waits what is going on. */
export type Say = (line: string) => void

/** One program out of one of Debian's packages. */
export type DebianProgram = {
  readonly name: string
  readonly package: string
  /** How large the download is, for whoever waits: `4 MB`. */
  readonly size: string
}

const downloadTimeoutMs = 60_000
const updateTimeoutMs = 120_000
const unpackTimeoutMs = 30_000
const stillAtItEveryMs = 10_000

/** Where a program from Debian's package is kept. */
export const programFromDebian = (env: NodeJS.ProcessEnv, { name }: DebianProgram): string =>
  join(cacheDir(env), `${name}-debian`, name)

/** Downloads Debian's package and unpacks the program into our cache: needs no root, installs nothing, starts no service. */
export async function fetchFromDebian(
  env: NodeJS.ProcessEnv,
  program: DebianProgram,
  tell: Say,
): Promise<string | undefined> {
  const binary = programFromDebian(env, program)
  const say = naming(program.name, tell)
  if (await exists(binary)) return binary
  if (!(await hasCommand(env, 'apt-get')) || !(await hasCommand(env, 'dpkg-deb'))) return undefined
  say(`fetching the Debian package (${program.size}) into the cache`)
  return keep(binary, async (scratch) => {
    const wanted = program.package
    const deb =
      (await download(env, wanted, scratch, [], say)) ??
      (await downloadWithOwnLists(env, wanted, scratch, say))
    if (deb === undefined) return undefined
    const unpacked = join(scratch, 'unpacked')
    if (!(await succeeds(env, 'dpkg-deb', ['-x', deb, unpacked], scratch, unpackTimeoutMs, say)))
      return undefined
    for (const folder of ['usr/sbin', 'usr/bin']) {
      const candidate = join(unpacked, folder, program.name)
      if (await exists(candidate)) return candidate
    }
    return undefined
  })
}

/** Every line begins with what it is about. */
export const naming =
  (name: string, say: Say): Say =>
  (line) =>
    say(`${name}: ${line}`)

/** Where everything that was fetched or built is kept. */
export function cacheDir(env: NodeJS.ProcessEnv): string {
  return join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'sluice')
}

async function download(
  env: NodeJS.ProcessEnv,
  wanted: string,
  scratch: string,
  options: readonly string[],
  say: Say,
): Promise<string | undefined> {
  // As root, apt would hand the download to a user who may not write here.
  const args = ['-o', 'APT::Sandbox::User=root', ...options, 'download', wanted]
  if (!(await succeeds(env, 'apt-get', args, scratch, downloadTimeoutMs, say))) return undefined
  const name = (await readdir(scratch)).find((entry) => entry.endsWith('.deb'))
  return name === undefined ? undefined : join(scratch, name)
}

/** The machine's package lists are missing or old. We read our own, and leave the machine's as they are. */
async function downloadWithOwnLists(
  env: NodeJS.ProcessEnv,
  wanted: string,
  scratch: string,
  say: Say,
): Promise<string | undefined> {
  say('reading the package lists (they are missing or old)')
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
  return download(env, wanted, scratch, own, say)
}

/** Makes a file in a scratch folder and moves it into the cache in one step, so that a half-made one is never found. */
export async function keep(
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
export async function succeeds(
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
    say(`still at it, ${Math.round((performance.now() - startedMs) / 1000)} s`)
  }, stillAtItEveryMs)
  const ended = await new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, signal) => resolve(code === 0 ? '' : `ended with ${code ?? signal}`))
  })
  clearInterval(timer)
  if (ended !== '') say(`${command} ${ended}${lines.length > 0 ? `: ${lines.at(-1)}` : ''}`)
  return ended === ''
}

/** Whether the PATH has it. */
export async function hasCommand(env: NodeJS.ProcessEnv, command: string): Promise<boolean> {
  const folders = (env['PATH'] ?? '').split(delimiter).filter((entry) => entry !== '')
  return (await Promise.all(folders.map((folder) => exists(join(folder, command))))).some(Boolean)
}

/** Whether there is anything at this path. */
export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
