import { rm } from 'node:fs/promises'

import { type Credential } from './credentials.ts'
import { writeSecret } from './data-dir.ts'
import { type Stack } from './stack.ts'

/** What `npm start -- --json` prints and ready.json holds; names that tests and tools rely on. */
export type Ready = {
  ready: true
  nats_url: string
  nats_pid: number
  http_url: string
  data_dir: string
  pid: number
  policy_snapshot: string
  gateways: { pid: number; http_url: string }[]
  credentials: Credential[]
}

/** What is true now: the processes may have been replaced since it was asked last. */
export function readyNow(
  { nats, gateways }: Stack,
  rest: { dataDir: string; snapshot: string; credentials: Credential[] },
): Ready {
  return {
    ready: true,
    nats_url: nats.url,
    nats_pid: nats.pid(),
    http_url: gateways[0]?.httpUrl ?? '',
    data_dir: rest.dataDir,
    pid: process.pid,
    policy_snapshot: rest.snapshot,
    gateways: gateways.map((gateway) => ({ pid: gateway.pid(), http_url: gateway.httpUrl })),
    credentials: rest.credentials,
  }
}

/** ready.json: there while everything is up. Writes wait for each other, the last one stays. */
export type ReadyFile = { write(ready: Ready): Promise<void>; remove(): Promise<void> }

/** A ready file at this path, for its owner only. */
export function readyFile(path: string): ReadyFile {
  let last = Promise.resolve()
  const next = (act: () => Promise<void>): Promise<void> => (last = last.catch(() => undefined).then(act))
  return {
    write: (ready) => next(() => writeSecret(path, ready)),
    remove: () => next(() => rm(path, { force: true })),
  }
}
