import type { MiddlewareHandler } from 'hono'
import { every } from 'hono/combine'
import { accessOf } from './access.ts'
import { admit, authenticate } from './auth.ts'
import { devCaller } from './caller.ts'
import { guardDev, guardStandard } from './guard.ts'
import type { Io } from '../io.ts'
import { isLoopbackAddress } from './loopback.ts'
import type { Tokens } from './tokens.ts'

/** What stands before the routes of a profile. */
export type Door = {
  /** Before the metrics and the details of readiness. */
  readonly details: MiddlewareHandler
  /** Before the API: tells who calls. Undefined: nobody can be told apart, so there is no API. */
  readonly api: MiddlewareHandler | undefined
}

/** `tokens` are undefined where the configuration names no file of them. */
export function doorOf(io: Io, tokens: Tokens | undefined): Door {
  if (io.config.profile === 'dev')
    return {
      details: (_, next) => next(),
      api: every(guardDev, (c, next) => {
        c.set('caller', devCaller)
        return next()
      }),
    }
  const guard = guardStandard(io.config.http)
  const known = authenticate(io, tokens ?? nobody)
  return {
    // Whoever scrapes from elsewhere does so by whatever address it knows; its token says more than its Host header.
    details: isLoopbackAddress(io.config.http.host)
      ? guard
      : every(known, admit(io, accessOf('GET', '/metrics'))),
    api: tokens === undefined ? undefined : every(guard, known),
  }
}

const nobody: Pick<Tokens, 'find'> = { find: () => ({ type: 'unknown' }) }
