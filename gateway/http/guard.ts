import type { HttpBindings } from '@hono/node-server'
import type { MiddlewareHandler } from 'hono'
import type { Config } from '../config/config.ts'
import { problem } from './problem.ts'
import { isLoopbackAddress } from './loopback.ts'

/**
 * What stands between the `dev` profile, which believes everybody, and a web page in a browser on the same machine: the
 * page's own host name must not lead here (DNS rebinding), and a page from elsewhere may not call (forged requests).
 */
export const guardDev: MiddlewareHandler = async (c, next) => {
  if (!isLoopbackHost(c.req.header('host')))
    return problem(
      c,
      'host_not_allowed',
      'in profile dev the Host header must be localhost or a loopback address',
    )
  const origin = c.req.header('origin')
  const site = c.req.header('sec-fetch-site')
  if ((origin !== undefined && !isLoopbackOrigin(origin)) || site === 'cross-site')
    return problem(c, 'origin_not_allowed', 'in profile dev only pages from this machine may call')
  if (c.req.header('authorization') !== undefined)
    return problem(
      c,
      'credentials_unsupported',
      'nobody is authenticated here: in profile dev every caller is agent demo and approver demo-approver; send no Authorization header',
    )
  return next()
}

/**
 * The same for callers with tokens: a request is for a name that this gateway goes by, and no page may call unless its
 * origin is written down. A browser adds no token by itself, so this is the second lock and not the first.
 */
export function guardStandard({ host, hosts, origins }: Config['http']): MiddlewareHandler {
  const names = new Set([host, ...hosts].map((name) => name.toLowerCase()))
  return async (c, next) => {
    const name = hostName(c.req.header('host'))
    if (name === undefined || !(isLoopbackName(name) || names.has(name) || names.has(bare(name))))
      return problem(c, 'host_not_allowed', 'the Host header is none of http.host and http.hosts')
    const origin = c.req.header('origin')
    const page =
      origin === undefined ? c.req.header('sec-fetch-site') === 'cross-site' : !origins.includes(origin)
    if (page) return problem(c, 'origin_not_allowed', 'pages of this origin are not in http.origins')
    return next()
  }
}

/**
 * A path means the same to everybody who looks at it. Where the address would be read as another one than was sent (dot
 * segments, a host in front of it), a proxy that lets only some paths through may have let through something else.
 */
export const plainPath: MiddlewareHandler<{ Bindings: HttpBindings }> = async (c, next) => {
  const [sent] = (c.env.incoming.url ?? '').split('?', 1)
  if (sent === parse(c.req.url)?.pathname) return next()
  return problem(c, 'invalid', 'the address must be a path as it is: no dot segments and no host before it')
}

/** The host of a Host header without its port, in lower case; an IPv6 address has its brackets. */
function hostName(header: string | undefined): string | undefined {
  return header === undefined || /[/?#@\\]/.test(header) ? undefined : parse(`http://${header}`)?.hostname
}

function isLoopbackHost(header: string | undefined): boolean {
  const name = hostName(header)
  return name !== undefined && isLoopbackName(name)
}

function isLoopbackOrigin(origin: string): boolean {
  const url = parse(origin)
  return url !== undefined && isLoopbackName(url.hostname)
}

/** Names and addresses that lead back to this machine. */
function isLoopbackName(name: string): boolean {
  return name.endsWith('.localhost') || isLoopbackAddress(bare(name))
}

const bare = (name: string): string => name.replace(/^\[|\]$/g, '')

function parse(url: string): URL | undefined {
  return URL.canParse(url) ? new URL(url) : undefined
}

/** Answers are data for programs: nobody may cache, frame, sniff or render them. */
export const secureHeaders: MiddlewareHandler = async (c, next) => {
  await next()
  c.header('Cache-Control', 'no-store')
  c.header('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'")
  c.header('Cross-Origin-Resource-Policy', 'same-origin')
  c.header('Referrer-Policy', 'no-referrer')
  c.header('X-Content-Type-Options', 'nosniff')
}
