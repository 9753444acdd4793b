import type { MiddlewareHandler } from 'hono'
import { problem } from './http-problem.ts'

/** Names and addresses that lead back to this machine. */
export function isLoopbackAddress(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase()
  return (
    bare === 'localhost' ||
    bare.endsWith('.localhost') ||
    bare === '::1' ||
    /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(bare)
  )
}

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
      'authentication does not exist yet: in profile dev every caller is agent demo and approver demo-approver; send no Authorization header',
    )
  return next()
}

function isLoopbackHost(host: string | undefined): boolean {
  const url = host === undefined || /[/?#@\\]/.test(host) ? undefined : parse(`http://${host}`)
  return url !== undefined && isLoopbackAddress(url.hostname)
}

function isLoopbackOrigin(origin: string): boolean {
  const url = parse(origin)
  return url !== undefined && isLoopbackAddress(url.hostname)
}

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
