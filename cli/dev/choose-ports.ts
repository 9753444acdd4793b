import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { gatewayUrl } from './gateways.ts'
import { type DevOptions } from './options.ts'
import { freePort, isFree } from './ports.ts'

export type Ports =
  | { ok: true; nats: number; http: { port: number; asked: boolean }[] }
  | { ok: false; problem: string }

const defaultHttpPort = 8081
const portsFile = 'ports.json'

/** A port that was asked for must be free; one that nobody asked for gives way. 0 asks for any; -1 is
 * what the server calls that. */
export async function choosePorts(options: DevOptions, dataDir: string): Promise<Ports> {
  for (const [flag, port] of [
    ['--http-port', options.httpPort],
    ['--nats-port', options.natsPort],
  ] as const) {
    if (port !== undefined && !(await isFree(port)))
      return {
        ok: false,
        problem: `${flag} ${port}: this port is taken; leave the option out, or say 0 for any that is free`,
      }
  }
  const first = await freePort(options.httpPort ?? defaultHttpPort)
  const http = [{ port: first, asked: Boolean(options.httpPort) }]
  while (http.length < options.gateways) http.push({ port: await freePort(0), asked: false })
  return { ok: true, nats: await natsPort(options, dataDir), http }
}

/** Keeps the server's port for the next start, so that clients that are set up for it find their server again. */
export async function rememberNatsPort(dataDir: string, natsUrl: string): Promise<void> {
  await writeFile(join(dataDir, portsFile), JSON.stringify({ nats: Number(new URL(natsUrl).port) }))
}

/** What to tell somebody who would look for the API where it usually is. */
export function portNotes(options: DevOptions, httpUrl: string): string[] {
  if (options.httpPort !== undefined || httpUrl === gatewayUrl(defaultHttpPort)) return []
  return [`port ${defaultHttpPort} is taken, the api is on ${new URL(httpUrl).port}`]
}

async function natsPort(options: DevOptions, dataDir: string): Promise<number> {
  if (options.natsPort !== undefined) return options.natsPort || -1
  const text = await readFile(join(dataDir, portsFile), 'utf8').catch(() => '{}')
  const last = (JSON.parse(text) as { nats?: number }).nats
  return last !== undefined && (await isFree(last)) ? last : -1
}
