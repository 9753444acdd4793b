import type { Context } from 'hono'
import type { z } from 'zod'
import type { StopScope } from '../../policy/stop.ts'
import { carryOutOrder, noSuchStop, shownStop } from '../stops/order.ts'
import { readObject } from './body.ts'
import { callerOf, reaches, type Caller } from './caller.ts'
import type { Route } from './route.ts'
import { problem, problemDetails, sendProblem } from './problem.ts'
import type { ProblemDetails } from './problem-details.ts'
import type { Io } from '../io.ts'

/** The kill switch: what is stopped, stop, and resume in two stages. */
export function controlRoutes(io: Io): readonly Route[] {
  return [
    { path: '/api/v1/control', methods: { GET: (c) => list(io, c) } },
    { path: '/api/v1/control/stop', methods: { POST: (c) => order(io, c, 'stop') } },
    { path: '/api/v1/control/resume', methods: { POST: (c) => order(io, c, 'resume') } },
  ]
}

function list(io: Io, c: Context): Response {
  const caller = callerOf(c)
  const stops = io.control.stops().filter(({ scope: covered }) => concerns(caller, covered))
  return c.json({ stops: stops.map(shownStop) })
}

async function order(io: Io, c: Context, verb: 'stop' | 'resume'): Promise<Response> {
  const body = await readObject(c)
  if (!body.ok) return body.response
  const caller = callerOf(c)
  const operator = { by: caller.principal, mayNot: (covered: StopScope) => notHis(caller, covered) }
  const done = await carryOutOrder(io, verb, body.value, operator)
  return done.ok ? c.json(done.stop) : sendProblem(c, done.problem)
}

/** A stop of everything or of a topic holds the caller's jobs, too; one of another tenant does not exist for it. */
function concerns(caller: Caller, covered: StopScope): boolean {
  return covered.kind === 'all' || covered.kind === 'topic' || reaches(caller, covered.tenant)
}

/** Why the caller may not stop or resume this, if it may not. */
function notHis(caller: Caller, covered: StopScope): ProblemDetails | undefined {
  if (!concerns(caller, covered)) return noSuchStop
  const everybodys = covered.kind === 'all' || covered.kind === 'topic'
  if (everybodys && caller.tenants !== 'all')
    return problemDetails('forbidden', 'this holds every tenant, so the token must be for tenants: all')
  return undefined
}

/** The body in the shape that is asked for, or the answer that says why it is not. */
export async function ordered<T>(
  c: Context,
  shape: z.ZodType<T>,
): Promise<{ value: T } | { response: Response }> {
  const body = await readObject(c)
  if (!body.ok) return { response: body.response }
  const parsed = shape.safeParse(body.value)
  if (parsed.success) return { value: parsed.data }
  const issue = parsed.error.issues[0]
  return {
    response: problem(c, 'invalid', `${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'invalid'}`),
  }
}
