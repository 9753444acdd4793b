import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isToken } from '../gateway/http/token.ts'

/** A running gateway, by its HTTP API. */
export type GatewayClient = {
  readonly url: string
  /** A token goes along with each call. */
  readonly known: boolean
  call(method: 'GET' | 'POST', path: string, sent?: Sent): Promise<Reply>
}

/** A body goes out as JSON; bytes go out as they are. */
export type Sent = {
  readonly body?: object | Uint8Array | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
}

export type Reply = { readonly status: number; readonly body: Record<string, unknown> }

/** Nobody answers, or somebody who is no gateway. */
export class Unreachable extends Error {}

/** The token that should go along cannot be one, so that nothing was sent. */
export class BadToken extends Error {}

const timeoutMs = 90_000

/** What the command line says about where the gateway is and who calls it. */
export type GivenGateway = {
  readonly url?: string | undefined
  readonly dataDir?: string | undefined
  readonly token?: string | undefined
  readonly tokenFile?: string | undefined
}

/**
 * By `--url`, else `SLUICE_URL`, else what a running `sluice dev` says in its data directory. A token goes only to a gateway
 * that was named: the one of a data directory asks for none, and whoever writes there should not get one.
 */
export async function findGateway(
  given: GivenGateway,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<GatewayClient> {
  const named = given.url ?? env['SLUICE_URL']
  const url = named ?? (await urlOfDev(given.dataDir, env))
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new Unreachable(`${url} is no address of a gateway; it is like http://127.0.0.1:8081`)
  const base = url.replace(/\/+$/, '')
  const token = named === undefined ? undefined : await tokenOf(given, env)
  const authorization = token === undefined ? {} : { Authorization: `Bearer ${token}` }
  return {
    url: base,
    known: token !== undefined,
    call: (method, path, { body, headers } = {}) =>
      call(base, method, path, { body, headers: { ...headers, ...authorization } }, signal),
  }
}

async function tokenOf(given: GivenGateway, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const file = given.tokenFile
  const read = file === undefined ? undefined : await readFile(file, 'utf8').catch(() => undefined)
  if (file !== undefined && read === undefined) throw new BadToken(`${file} cannot be read`)
  const token = (read ?? given.token ?? env['SLUICE_TOKEN'])?.trim()
  // What is no token must not travel: it may be another secret, or have what a header cannot hold.
  if (token !== undefined && !isToken(token))
    throw new BadToken('the token is not whole: it is slc_ and 49 characters; nothing was sent')
  return token
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
      // Wherever an answer would send us, the token was not meant for it.
      redirect: 'manual',
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
