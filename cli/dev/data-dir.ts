import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { createKeys } from '../../gateway/config/keys.ts'
import { type Topology } from '../../gateway/config/topology.ts'
import { newPasswords, type Passwords } from './nats-conf.ts'

/** The folder in which one `sluice dev` keeps everything, ours alone until `release`. */
export type DataDir = { path: string; release(): Promise<void> }

export type Claimed = { ok: true; dataDir: DataDir; inUse: string[] } | { ok: false; problem: string }

const defaultName = join('.sluice', 'dev')
const othersMax = 20

/**
 * Takes the data directory that was asked for, or else the first of `.sluice/dev`, `.sluice/dev-2`, ... that no other
 * `sluice dev` has. `inUse` names those that were passed over.
 */
export async function claimDataDir(asked: string | undefined, cwd: string): Promise<Claimed> {
  if (asked !== undefined) {
    const path = resolve(cwd, asked)
    const holder = await claim(path)
    if (holder !== undefined)
      return {
        ok: false,
        problem: `${path} is used by another sluice dev (process ${holder}): end that one, or name another folder with --data-dir`,
      }
    return { ok: true, dataDir: dataDir(path), inUse: [] }
  }
  const inUse: string[] = []
  for (let n = 1; n <= othersMax; n++) {
    const path = resolve(cwd, n === 1 ? defaultName : `${defaultName}-${n}`)
    const holder = await claim(path)
    if (holder === undefined) return { ok: true, dataDir: dataDir(path), inUse }
    inUse.push(`${path} (process ${holder})`)
  }
  return { ok: false, problem: `${othersMax} sluice dev run here already; name a folder with --data-dir` }
}

/** The passwords of this data directory, made at the first start; users that are new in the topology get theirs now. */
export async function storedPasswords(path: string, topology: Topology): Promise<Passwords> {
  const file = join(path, 'passwords.json')
  const stored = await readFile(file, 'utf8').catch(() => '{}')
  const passwords = { ...newPasswords(topology), ...(JSON.parse(stored) as Record<string, string>) }
  await writeSecret(file, passwords)
  return passwords
}

/** The gateways' key file of this data directory; tenants that are new in the topology get a key now. */
export async function storedKeys(path: string, topology: Topology): Promise<string> {
  const file = join(path, 'keys.json')
  await createKeys(
    file,
    topology.tenants.map(({ name }) => name),
  )
  return file
}

/** Writes JSON for its owner only, whole or not at all. */
export async function writeSecret(file: string, content: unknown): Promise<void> {
  const draft = `${file}.${process.pid}`
  await writeFile(draft, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 })
  await rename(draft, file)
}

const lockFile = (path: string): string => join(path, 'dev.pid')

function dataDir(path: string): DataDir {
  return { path, release: () => rm(lockFile(path), { force: true }) }
}

/** Puts our process id into the folder; undefined if it is ours now, else the id of whoever lives there. */
async function claim(path: string): Promise<number | undefined> {
  await mkdir(path, { recursive: true, mode: 0o700 })
  for (;;) {
    try {
      await writeFile(lockFile(path), String(process.pid), { flag: 'wx' })
      return undefined
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const holder = Number(await readFile(lockFile(path), 'utf8').catch(() => ''))
    if (await isSluice(holder)) return holder
    // Whoever wrote it was killed.
    await rm(lockFile(path), { force: true })
  }
}

/** Whether this process lives and is one of ours; a process id is given out again after a while. */
async function isSluice(pid: number): Promise<boolean> {
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined)
  return commandLine === undefined || /bootstrap\.mjs|sluice|main\.js/.test(commandLine)
}
