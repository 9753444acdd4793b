import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'

import type { TestNats } from './nats-server.ts'

/** What a program said and how it ended. */
export type Ran = { readonly code: number | null; readonly stdout: string; readonly stderr: string }

/** A program that runs until somebody ends it. */
export type Started = {
  readonly child: ChildProcess
  readonly said: (text: string) => Promise<void>
  readonly ended: Promise<Ran>
}

/** Starts `examples/<name>.ts` as it was compiled. */
export function startExample(name: string, args: readonly string[], env: Record<string, string>): Started {
  const child = spawn(process.execPath, [join('dist', 'examples', `${name}.js`), ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  let heard = (): void => undefined
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    heard()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const ended = new Promise<Ran>((resolve) =>
    child.once('close', (code) => resolve({ code, stdout, stderr })),
  )
  return {
    child,
    ended,
    said: async (text) => {
      void ended.then(() => heard())
      while (!stdout.includes(text)) {
        if (child.exitCode !== null)
          throw new Error(`${name} ended before it said '${text}': ${stdout}${stderr}`)
        await new Promise<void>((resolve) => (heard = resolve))
      }
    },
  }
}

/** Where an agent or approver of the examples finds its server. */
export function clientEnvironment(nats: TestNats, user: string): Record<string, string> {
  return { NATS_URL: nats.url, NATS_USER: user, NATS_PASSWORD: nats.passwords[user] ?? '' }
}

/** What `sluice dev` tells the demo workers. */
export function workerEnvironment(
  nats: TestNats,
  user: string,
  dataDir: string,
  httpUrl: string,
): Record<string, string> {
  const pool = nats.topology.pools.find(({ workers }) => workers.includes(user))
  if (pool === undefined) throw new Error(`no pool has the worker ${user}`)
  return {
    SLUICE_WORKER_URL: nats.url,
    SLUICE_WORKER_USER: user,
    SLUICE_WORKER_PASSWORD: nats.passwords[user] ?? '',
    SLUICE_WORKER_INBOX_PREFIX: `_INBOX_${user}`,
    SLUICE_WORKER_NAME: user,
    SLUICE_WORKER_SUBSCRIBE: `worker.${pool.name}.>`,
    SLUICE_WORKER_QUEUE: pool.name,
    SLUICE_WORKER_CANCEL: `cancel.${user}.>`,
    SLUICE_WORKER_API_PREFIX: 'gov.API',
    SLUICE_WORKER_STREAM: 'WORK',
    SLUICE_WORKER_CONSUMER: pool.name,
    SLUICE_WORKER_DATA_DIR: dataDir,
    SLUICE_WORKER_KEYS_URL: `${httpUrl}/api/v1/keys`,
  }
}
