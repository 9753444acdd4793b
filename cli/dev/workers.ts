import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { type Credential } from './credentials.ts'
import { spawnLeashed } from './leash.ts'
import { type Running } from './keep-running.ts'
import { projectRoot } from './project.ts'

const sayReadyWithinMs = 10_000

/** The demo workers: of each pool the first worker, if there is a program for the pool. The others are for visitors. */
export function demoWorkers(
  credentials: readonly Credential[],
): { credential: Credential; program: string }[] {
  const pools = new Set<string>()
  return credentials.flatMap((credential) => {
    const { role, pool } = credential
    if (role !== 'worker' || pool === undefined || pools.has(pool)) return []
    pools.add(pool)
    const program = join(projectRoot, 'dist', 'examples', `${pool}-worker.js`)
    return existsSync(program) ? [{ credential, program }] : []
  })
}

/** Where a worker finds its server, its files, and the public keys of the gateways. */
export type WorkerPlace = {
  readonly natsUrl: string
  readonly dataDir: string
  readonly keysUrl: string
}

/** Starts one and waits until it says its first line, which means that it is listening. */
export async function startWorker(
  credential: Credential,
  program: string,
  place: WorkerPlace,
  onLine: (line: string) => void,
): Promise<Running> {
  let heard = (): void => undefined
  const spoke = new Promise<void>((resolve) => (heard = resolve))
  const child = await spawnLeashed({
    command: process.execPath,
    args: [program],
    env: { ...process.env, ...workerEnvironment(credential, place) },
    cwd: place.dataDir,
    onLine: (line) => {
      heard()
      onLine(line)
    },
  })
  let timer: NodeJS.Timeout | undefined
  const tooLong = new Promise<void>((resolve) => (timer = setTimeout(resolve, sayReadyWithinMs)))
  await Promise.race([spoke, child.exited, tooLong])
  clearTimeout(timer)
  return child
}

/** What a worker is told; the names are an interface, examples/ reads them. */
function workerEnvironment(
  credential: Credential,
  { natsUrl, dataDir, keysUrl }: WorkerPlace,
): Record<string, string> {
  return {
    SLUICE_WORKER_URL: natsUrl,
    SLUICE_WORKER_USER: credential.user,
    SLUICE_WORKER_PASSWORD: credential.password,
    SLUICE_WORKER_INBOX_PREFIX: credential.inbox_prefix,
    SLUICE_WORKER_NAME: credential.actor,
    SLUICE_WORKER_POOL: credential.pool ?? '',
    SLUICE_WORKER_SUBSCRIBE: credential.subscribe?.[0] ?? '',
    SLUICE_WORKER_QUEUE: credential.queue ?? '',
    SLUICE_WORKER_CANCEL: credential.cancel ?? '',
    SLUICE_WORKER_API_PREFIX: credential.js_api_prefix ?? '',
    SLUICE_WORKER_STREAM: credential.stream ?? '',
    SLUICE_WORKER_CONSUMER: credential.consumer ?? '',
    SLUICE_WORKER_DATA_DIR: dataDir,
    SLUICE_WORKER_KEYS_URL: keysUrl,
  }
}
