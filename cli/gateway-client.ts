import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** A running gateway, by its HTTP API. */
export type GatewayClient = {
  readonly url: string
  call(method: 'GET' | 'POST', path: string, sent?: Sent): Promise<Reply>
}

/** A body goes out as JSON; bytes go out as they are. */
export type Sent = {
  readonly body?: object | Uint8Array
  readonly headers?: Readonly<Record<string, string>>
}

export type Reply = { readonly status: number; readonly body: Record<string, unknown> }

/** Nobody answers, or somebody who is no gateway. */
export class Unreachable extends Error {}

const timeoutMs = 90_000

/** By `--url`, else `SLUICE_URL`, else what a running `sluice dev` says in its data directory. */
export async function findGateway(
  given: { readonly url?: string | undefined; readonly dataDir?: string | undefined },
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<GatewayClient> {
  const url = given.url ?? env['SLUICE_URL'] ?? (await urlOfDev(given.dataDir, env))
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new Unreachable(`${url} is no address of a gateway; it is like http://127.0.0.1:8081`)
  const base = url.replace(/\/+$/, '')
  return { url: base, call: (method, path, sent = {}) => call(base, method, path, sent, signal) }
}

async function urlOfDev(dataDir: string | undefined, env: NodeJS.ProcessEnv): Promise<string> {
  const folder = dataDir ?? env['SLUICE_DATA_DIR'] ?? join('.sluice', 'dev')
  const file = join(folder, 'ready.json')
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text === undefined)
    throw new Unreachable(
      `no gateway is known here: there is no ${file}. Start one (npm start), or say where it is: --url or SLUICE_URL`,
    )
  let url: unknown
  try {
    url = (JSON.parse(text) as { http_url?: unknown }).http_url
  } catch {
    url = undefined
  }
  if (typeof url !== 'string') throw new Unreachable(`${file} does not say where the gateway is`)
  return url
}

async function call(
  base: string,
  method: string,
  path: string,
  sent: Sent,
  signal: AbortSignal,
): Promise<Reply> {
  const { body, headers } = sent
  const json = { ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers }
  let response: Response
  let text: string
  try {
    response = await fetch(base + path, {
      method,
      headers: json,
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      ...(body === undefined ? {} : { body: body instanceof Uint8Array ? body : JSON.stringify(body) }),
    })
    text = await response.text()
  } catch (error) {
    if (signal.aborted) throw error
    throw new Unreachable(`no gateway answers at ${base}${causeOf(error)}; is it running?`)
  }
  try {
    return { status: response.status, body: JSON.parse(text) as Record<string, unknown> }
  } catch {
    throw new Unreachable(`what answers at ${base} is no gateway`)
  }
}

function causeOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause as { code?: unknown } | undefined) : undefined
  return typeof cause?.code === 'string' ? ` (${cause.code})` : ''
}
