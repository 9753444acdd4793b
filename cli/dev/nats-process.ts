import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
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
  const scratch = await mkdtemp(join(tmpdir(), 'sluice-nats-'))
  const confFile = join(scratch, 'nats.conf')
  await writeFile(confFile, options.conf, { mode: 0o600 })
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
      scratch,
    ],
    env: { ...process.env, ...passwordEnvironment(options.passwords) },
    onLine: (line) => {
      lines.push(line)
      if (lines.length > lastWordsMax) lines.shift()
      options.onLine?.(line)
    },
  })
  try {
    const ended = child.exited.then(() => 'ended' as const)
    const url = await Promise.race([listening(join(scratch, `nats-server_${child.pid}.ports`)), ended])
    if (url === 'ended' || url === undefined) {
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
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

const lastWordsMax = 20

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
