import type { Context } from 'hono'
import { z } from 'zod'
import type { Stop, StopScope } from '../policy/stop.ts'
import { patternProblem } from '../policy/topic.ts'
import { readObject } from './http-body.ts'
import { callerOf, reaches, type Caller } from './http-caller.ts'
import type { Route } from './http-app.ts'
import { problem } from './http-problem.ts'
import type { Io } from './io.ts'

const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'must be a name')
const reason = z.string().min(1, 'must say why').max(1_000)
const pattern = z.string().superRefine((text, context) => {
  const wrong = patternProblem(text)
  if (wrong !== undefined) context.addIssue({ code: 'custom', message: wrong })
})
const scope = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('all') }),
  z.strictObject({ kind: z.literal('tenant'), tenant: name }),
  z.strictObject({ kind: z.literal('agent'), tenant: name, agent: name }),
  z.strictObject({ kind: z.literal('topic'), pattern }),
])
const stopOrder = z.strictObject({ scope, reason })
const resumeOrder = z.strictObject({ id: z.string().max(64), stage: z.enum(['draining', 'resumed']), reason })

/** The kill switch: what is stopped, stop, and resume in two stages. */
export function controlRoutes(io: Io): readonly Route[] {
  return [
    { path: '/api/v1/control', methods: { GET: (c) => list(io, c) } },
    { path: '/api/v1/control/stop', methods: { POST: (c) => stop(io, c) } },
    { path: '/api/v1/control/resume', methods: { POST: (c) => resume(io, c) } },
  ]
}

function list(io: Io, c: Context): Response {
  const caller = callerOf(c)
  const stops = io.control.stops().filter(({ scope: covered }) => concerns(caller, covered))
  return c.json({ stops: stops.map(shown) })
}

async function stop(io: Io, c: Context): Promise<Response> {
  const order = await ordered(c, stopOrder)
  if ('response' in order) return order.response
  const caller = callerOf(c)
  return (
    notHis(c, caller, order.value.scope) ??
    c.json(shown(await io.control.stop({ ...order.value, by: caller.principal })))
  )
}

async function resume(io: Io, c: Context): Promise<Response> {
  const order = await ordered(c, resumeOrder)
  if ('response' in order) return order.response
  const { id, stage, reason: why } = order.value
  const caller = callerOf(c)
  const known = io.control.stops().find((one) => one.id === id)
  const refused = known === undefined ? undefined : notHis(c, caller, known.scope)
  if (refused !== undefined) return refused
  // Nobody can say yet whose a stop is that this gateway has not read.
  const resumed =
    known === undefined && caller.tenants !== 'all'
      ? undefined
      : await io.control.resume(id, stage, caller.principal, why)
  return resumed === undefined ? noSuchStop(c) : c.json(shown(resumed))
}

const noSuchStop = (c: Context): Response => problem(c, 'not_found', 'there is no such stop or tenant')

/** A stop of everything or of a topic holds the caller's jobs, too; one of another tenant does not exist for it. */
function concerns(caller: Caller, covered: StopScope): boolean {
  return covered.kind === 'all' || covered.kind === 'topic' || reaches(caller, covered.tenant)
}

/** Why the caller may not stop or resume this, if it may not. */
function notHis(c: Context, caller: Caller, covered: StopScope): Response | undefined {
  if (!concerns(caller, covered)) return noSuchStop(c)
  const everybodys = covered.kind === 'all' || covered.kind === 'topic'
  if (everybodys && caller.tenants !== 'all')
    return problem(c, 'forbidden', 'this holds every tenant, so the token must be for tenants: all')
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

/** A stop as people read it. */
function shown(stop: Stop): object {
  const at = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString())
  const { id, scope: covered, by, reason: why } = stop
  const state =
    stop.resumed_at_ms !== undefined ? 'resumed' : stop.draining_at_ms !== undefined ? 'draining' : 'stopped'
  return {
    id,
    state,
    scope: covered,
    by,
    reason: why,
    stopped_at: at(stop.at_ms),
    draining_at: at(stop.draining_at_ms),
    resumed_at: at(stop.resumed_at_ms),
  }
}
