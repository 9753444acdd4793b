import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { spawnLeashed } from './leash.ts'
import { passwordEnvironment, type Passwords } from './nats-conf.ts'

/** A nats-server of our own on loopback. */
export type NatsProcess = {
  pid: number
  port: number
  url: string
  /** Resolves when the process is gone, whoever ended it. */
  exited: Promise<number>
  stop(): Promise<void>
  kill9(): Promise<void>
}

export type NatsProcessOptions = {
  binary: string
  /** The text of the configuration; port and store directory are set from here. */
  conf: string
  passwords: Passwords
  storeDir: string
  /** -1: any free port. */
  port: number
  onLine?: (line: string) => void
}

const startTimeoutMs = 20_000
const pollEveryMs = 5

/** Starts a server and waits until it listens; says its last words if it does not. */
export async function startNatsProcess(options: NatsProcessOptions): Promise<NatsProcess> {
  await mkdir(options.storeDir, { recursive: true })
  const confFile = join(options.storeDir, 'nats.conf')
  await writeFile(confFile, options.conf, { mode: 0o600 })
  await forgetOldPorts(options.storeDir)
  const lines: string[] = []
  const child = await spawnLeashed({
    command: options.binary,
    args: [
      '-c',
      confFile,
      '-a',
      '127.0.0.1',
      '-p',
      String(options.port),
      '-sd',
      options.storeDir,
      '--ports_file_dir',
      options.storeDir,
    ],
    env: { ...process.env, ...passwordEnvironment(options.passwords) },
    onLine: (line) => {
      lines.push(line)
      if (lines.length > lastWordsMax) lines.shift()
      options.onLine?.(line)
    },
  })
  const portsFile = join(options.storeDir, `nats-server_${child.pid}.ports`)
  const ended = child.exited.then(() => undefined)
  const url = await Promise.race([listening(portsFile), ended])
  if (url === undefined) {
    await child.stop(0)
    throw new Error(`nats-server did not start:\n${lines.join('\n')}`)
  }
  return {
    pid: child.pid,
    port: Number(new URL(url).port),
    url,
    exited: child.exited,
    stop: () => child.stop(),
    kill9: async () => {
      child.signal('SIGKILL')
      await child.exited
    },
  }
}

const lastWordsMax = 20

/** A killed server leaves its file behind, and process ids are given out again. */
async function forgetOldPorts(folder: string): Promise<void> {
  const old = (await readdir(folder)).filter((name) => name.endsWith('.ports'))
  await Promise.all(old.map((name) => rm(join(folder, name), { force: true })))
}

/** The server writes this file when all its listeners are open. */
async function listening(portsFile: string): Promise<string | undefined> {
  const deadline = performance.now() + startTimeoutMs
  while (performance.now() < deadline) {
    const text = await readFile(portsFile, 'utf8').catch(() => '')
    const url = text.endsWith('}') ? (JSON.parse(text) as { nats?: string[] }).nats?.[0] : undefined
    if (url !== undefined) return url
    await sleep(pollEveryMs)
  }
  return undefined
}
