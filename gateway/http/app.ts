import type { HttpBindings } from '@hono/node-server'
import { Hono, type Context, type MiddlewareHandler } from 'hono'
import { every } from 'hono/combine'
import { BusError } from '../bus/message.ts'
import { accessOf, type Access } from './access.ts'
import { approvalRoutes } from './approvals.ts'
import { admit } from './auth.ts'
import { queryFlag } from './body.ts'
import { controlRoutes } from './control.ts'
import { doorOf } from './door.ts'
import { plainPath, secureHeaders } from './guard.ts'
import { healthRoutes } from './health.ts'
import { jobRoutes } from './jobs.ts'
import { keyRoutes } from './keys.ts'
import { policyLiveRoutes } from './policy-live.ts'
import { policyRoutes } from './policy.ts'
import { problem } from './problem.ts'
import type { HttpDeps, Route } from './route.ts'
import { traceRoutes } from './traces.ts'
import type { Io } from '../io.ts'
import { NotCaughtUp } from '../queries/queries.ts'
import type { Tokens } from './tokens.ts'

/** All routes of the profile. Without tokens nobody can be told apart, and `standard` opens only what tells nothing. */
export function createApp(io: Io, deps: HttpDeps, tokens: Tokens | undefined): Hono {
  const app = new Hono()
  const door = doorOf(io, tokens)
  app.use(secureHeaders)
  app.use(logged(io))
  app.use(plainPath)
  app.use('/metrics', door.details)
  app.use('/readyz', (c, next) => (queryFlag(c, 'verbose', false) === false ? next() : door.details(c, next)))
  // The door has looked at who asks for more than health.
  const open: Gate = () => (_, next) => next()
  mount(app, healthRoutes(io, deps), open)
  mount(app, keyRoutes(io), open)
  if (door.api !== undefined) {
    const gate: Gate = (needed) => admit(io, needed)
    const away = connected(io)
    const onBus: Gate = (needed) => every(gate(needed), away)
    app.use(door.api)
    mount(app, policyRoutes(io), gate)
    mount(app, jobRoutes(io, deps), onBus)
    mount(app, approvalRoutes(io, deps), onBus)
    mount(app, traceRoutes(io, deps), onBus)
    mount(app, controlRoutes(io), onBus)
    mount(app, policyLiveRoutes(io), onBus)
  }
  app.notFound((c) =>
    problem(c, 'no_such_path', `nothing is served at this path in profile ${io.config.profile}`),
  )
  app.onError((error, c) => failed(io, error, c))
  return app
}

type Gate = (needed: Access) => MiddlewareHandler

function mount(app: Hono, routes: readonly Route[], gate: Gate): void {
  for (const { path, methods } of routes) {
    for (const [method, handle] of Object.entries(methods))
      app.on(method, path, gate(accessOf(method, path)), handle)
    const allow = Object.keys(methods).join(', ')
    app.all(path, (c) => {
      c.header('Allow', allow)
      return problem(c, 'method_not_allowed', `this path takes ${allow}`)
    })
  }
}

function logged(io: Io): MiddlewareHandler {
  return async (c, next) => {
    const startedMs = performance.now()
    await next()
    const ms = Math.round(performance.now() - startedMs)
    io.log.debug({ method: c.req.method, path: pathOf(c), status: c.res.status, ms }, 'http')
  }
}

/** Everything below asks the bus, and a caller should not wait for a time-out to hear that it is away. */
function connected(io: Io): MiddlewareHandler {
  return async (c, next) => {
    if (io.bus.connected()) return next()
    c.header('Retry-After', '1')
    return problem(c, 'unavailable', 'the gateway is not connected to NATS; it goes on by itself when it is')
  }
}

/** Somebody may take a token for an id. */
const pathOf = (c: Context): string => c.req.path.replace(/slc_[\w-]*/g, 'slc_...')

/** What nobody foresaw says nothing about itself to strangers; the log has it. */
function failed(io: Io, error: unknown, c: Context): Response {
  if (error instanceof BusError || error instanceof NotCaughtUp) {
    io.log.warn({ err: error, path: pathOf(c) }, 'http: not now')
    c.header('Retry-After', '1')
    const detail = error instanceof NotCaughtUp ? error.message : 'the bus does not answer; try again'
    return problem(c, 'unavailable', detail)
  }
  const { incoming } = c.env as HttpBindings
  // Whoever leaves in the middle of a request hears no answer, and it is no fault of ours.
  if (incoming.destroyed && !incoming.complete)
    io.log.debug({ path: pathOf(c) }, 'http: the caller went away')
  else io.log.error({ err: error, path: pathOf(c) }, 'http: failed')
  return problem(c, 'internal', 'something went wrong here; the log of the gateway says what')
}
