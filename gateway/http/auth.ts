import { getConnInfo } from '@hono/node-server/conninfo'
import type { Context, MiddlewareHandler } from 'hono'
import { createAllowance } from '../allowance.ts'
import type { Access } from './access.ts'
import { callerOf, type Caller } from './caller.ts'
import { problem } from './problem.ts'
import type { Io } from '../io.ts'
import type { AuthFailure } from '../metrics.ts'
import type { TokenEntry } from './tokens-file.ts'
import type { Tokens } from './tokens.ts'

/** A caller may do twice its rate at once, so that a page or a script need not count. */
const burstRatio = 2
/** Wrong tokens of one address. Beyond, they are told to wait; who has a right one never is, wherever it comes from. */
const wrongTokens = { perSec: 10, burst: 100, keysMax: 10_000 }
const principalsMax = 100_000
const logEveryMs = 10_000

const monotonicMs = (): number => performance.now()

/** Tells who calls by the bearer token, and lets nobody past whom it cannot tell. */
export function authenticate(io: Io, tokens: Pick<Tokens, 'find'>): MiddlewareHandler {
  const { ratePerSec } = io.config.http
  const rate = { perSec: ratePerSec, burst: ratePerSec * burstRatio, keysMax: principalsMax }
  const calls = createAllowance(rate, monotonicMs)
  const unknown = refusing(io)
  return async (c, next) => {
    const token = bearerIn(c.req.header('authorization'))
    if (token === undefined) return unknown(c, 'missing')
    const found = tokens.find(token, io.nowMs())
    if (found.type !== 'known') return unknown(c, found.type)
    const waitMs = calls.take(found.entry.principal)
    if (waitMs > 0) return tooMany(c, waitMs, `more than ${ratePerSec} requests a second of this principal`)
    c.set('caller', callerWith(found.entry))
    await next()
    // A question may wait a minute for its answer, and by then the token may be gone.
    const gone = c.req.method === 'GET' && tokens.find(token, io.nowMs()).type !== 'known'
    if (gone) c.res = unknown(c, 'unknown')
    return undefined
  }
}

/** Lets in whose token has one of the roles; the route's own code sees to it that only its tenants exist for it. */
export function admit(io: Io, needed: Access): MiddlewareHandler {
  return async (c, next) => {
    if (needed === 'anybody') return next()
    const { roles, tenants } = callerOf(c)
    const refused = (detail: string): Response => {
      io.metrics.httpAuthFailed('forbidden')
      return problem(c, 'forbidden', detail)
    }
    if (!needed.roles.some((role) => roles.includes(role)))
      return refused(`this is for ${needed.roles.join(', ')}; the token's roles are ${roles.join(', ')}`)
    if (needed.tenants === 'all' && tenants !== 'all')
      return refused('this reaches every tenant, so the token must be for tenants: all')
    return next()
  }
}

/** RFC 6750, section 2.1: the scheme in any case, then the token. Undefined: no header at all. */
function bearerIn(header: string | undefined): string | undefined {
  if (header === undefined) return undefined
  // What is another scheme, or nothing, is no token of ours; what comes back is looked at by nobody but `find`.
  return /^bearer +(\S+) *$/i.exec(header)?.[1] ?? ''
}

function callerWith({ principal, roles, tenants, agent }: TokenEntry): Caller {
  const [tenant] = tenants === 'all' ? [] : tenants
  const submits = agent === undefined || tenant === undefined ? undefined : { tenant, agent, principal }
  return { principal, roles, tenants, submits }
}

type Unknown = Exclude<AuthFailure, 'forbidden'>

const reasons: Readonly<Record<Unknown, string>> = {
  missing: 'this needs a token: Authorization: Bearer slc_...',
  malformed:
    'the Authorization header has no whole token of this gateway: it is cut, changed or of another kind',
  unknown: 'nobody here knows this token (any more); ask for a new one',
  expired: 'the token has expired; ask for a new one',
}

/** The answer to somebody who is not known. It is counted, and a line in the log tells of it now and then; never of the token. */
function refusing(io: Io): (c: Context, reason: Unknown) => Response {
  const wrong = createAllowance(wrongTokens, monotonicMs)
  let quietUntilMs = -Infinity
  let untold = 0
  return (c, reason) => {
    io.metrics.httpAuthFailed(reason)
    const address = getConnInfo(c).remote.address ?? ''
    untold++
    if (monotonicMs() >= quietUntilMs) {
      io.log.warn({ address, reason, count: untold }, 'http: somebody without a good token')
      quietUntilMs = monotonicMs() + logEveryMs
      untold = 0
    }
    const waitMs = reason === 'missing' ? 0 : wrong.take(address)
    if (waitMs > 0) return tooMany(c, waitMs, 'too many wrong tokens from this address')
    c.header(
      'WWW-Authenticate',
      `Bearer realm="sluice"${reason === 'missing' ? '' : ', error="invalid_token"'}`,
    )
    return problem(c, 'unauthenticated', reasons[reason])
  }
}

function tooMany(c: Context, waitMs: number, detail: string): Response {
  c.header('Retry-After', String(Math.ceil(waitMs / 1_000)))
  return problem(c, 'rate_limited', detail)
}
