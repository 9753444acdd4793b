import type { Context } from 'hono'
import type { Constraints } from '../../policy/constraints.ts'
import { constraints } from '../../policy/schema-blocks.ts'
import type { HttpDeps, Route } from './route.ts'
import { queryFlag, queryNumber, readOptionalObject, type JsonObject } from './body.ts'
import { callerOf, jobIdIn } from './caller.ts'
import { problem } from './problem.ts'
import { noteIn, resolvedResponse } from './resolution.ts'
import type { Io } from '../io.ts'
import { approvalsLimitMax, parseCursor } from '../queries/approvals.ts'
import { claim, resolve } from '../resolve.ts'

const limitByDefault = 100
const hashCharsMax = 128

/** What waits for a person, and what the person says. */
export function approvalRoutes(io: Io, deps: HttpDeps): readonly Route[] {
  return [
    { path: '/api/v1/approvals', methods: { GET: (c) => list(deps, c) } },
    { path: '/api/v1/approvals/:id', methods: { GET: (c) => show(deps, c) } },
    { path: '/api/v1/approvals/:id/approve', methods: { POST: (c) => decide(io, deps, c, 'approve') } },
    { path: '/api/v1/approvals/:id/claim', methods: { POST: (c) => claimOne(io, deps, c) } },
    { path: '/api/v1/approvals/:id/reject', methods: { POST: (c) => decide(io, deps, c, 'reject') } },
  ]
}

async function list({ queries }: HttpDeps, c: Context): Promise<Response> {
  const includeResolved = queryFlag(c, 'include_resolved', false)
  if (includeResolved === undefined)
    return problem(c, 'invalid', '"include_resolved" in the query must be true or false')
  const limit = queryNumber(c, 'limit', { min: 1, max: approvalsLimitMax, otherwise: limitByDefault })
  if (limit === undefined) return problem(c, 'invalid', `"limit" must be 1 to ${approvalsLimitMax}`)
  const text = c.req.query('cursor')
  const cursor = text === undefined ? undefined : parseCursor(text)
  if (text !== undefined && cursor === undefined)
    return problem(c, 'invalid', '"cursor" must be the next_cursor of an earlier answer')
  return c.json(await queries.approvals({ includeResolved, limit, cursor, tenants: callerOf(c).tenants }))
}

async function show({ queries }: HttpDeps, c: Context): Promise<Response> {
  const job = jobIdIn(c)
  if ('response' in job) return job.response
  const item = await queries.approval(job.id)
  if (item === undefined) return problem(c, 'not_found', 'no job with this id ever asked for approval')
  return c.json(item)
}

async function decide(
  io: Io,
  { refusals }: HttpDeps,
  c: Context,
  decision: 'approve' | 'reject',
): Promise<Response> {
  const job = jobIdIn(c)
  if ('response' in job) return job.response
  const body = await readOptionalObject(c)
  if (!body.ok) return body.response
  const note = noteIn(body.value, wishKeys)
  if (!note.ok) return problem(c, 'invalid', note.problem)
  const binding = bindingIn(body.value, c.req.header('if-match'))
  if (typeof binding === 'string') return problem(c, 'invalid', binding)
  const limits = limitsIn(body.value)
  if (typeof limits === 'string') return problem(c, 'invalid', limits)
  const who = { job: job.id, by: callerOf(c).principal, via: 'http' as const }
  return resolvedResponse(
    c,
    await resolve(io, refusals, { ...who, decision, note: note.note, ...binding, ...limits }),
  )
}

async function claimOne(io: Io, { refusals }: HttpDeps, c: Context): Promise<Response> {
  const job = jobIdIn(c)
  if ('response' in job) return job.response
  const body = await readOptionalObject(c)
  if (!body.ok) return body.response
  const note = noteIn(body.value, ['note', 'reason'])
  if (!note.ok) return problem(c, 'invalid', note.problem)
  const who = { job: job.id, by: callerOf(c).principal, via: 'http' as const }
  return resolvedResponse(c, await claim(io, refusals, { ...who, note: note.note }))
}

const wishKeys = ['note', 'reason', 'job_hash', 'policy_snapshot', 'constraints']

/** Limits that the approver adds, in the words of a policy; a string is what is wrong with them. */
function limitsIn({ constraints: given }: JsonObject): { readonly constraints?: Constraints } | string {
  if (given === undefined) return {}
  const parsed = constraints.safeParse(given)
  if (parsed.success) return { constraints: parsed.data as Constraints }
  const [issue] = parsed.error.issues
  return `${['constraints', ...(issue?.path ?? [])].join('.')}: ${issue?.message ?? 'invalid'}`
}

type Binding = { readonly jobHash?: string; readonly policySnapshot?: string }

/** What the approver saw; a string is what is wrong with it. `If-Match` is another way to name the job hash. */
function bindingIn(body: JsonObject, ifMatch: string | undefined): Binding | string {
  const { job_hash, policy_snapshot } = body
  for (const [key, value] of Object.entries({ job_hash, policy_snapshot })) {
    if (value === undefined) continue
    if (typeof value !== 'string' || value === '' || value.length > hashCharsMax)
      return `"${key}" must be text of 1 to ${hashCharsMax} characters`
  }
  const matched =
    ifMatch === undefined || ifMatch.trim() === '*' ? undefined : ifMatch.trim().replace(/^"(.*)"$/, '$1')
  if (matched !== undefined && job_hash !== undefined && matched !== job_hash)
    return 'If-Match and "job_hash" name two different jobs'
  const jobHash = (job_hash as string | undefined) ?? matched
  return {
    ...(jobHash === undefined ? {} : { jobHash }),
    ...(policy_snapshot === undefined ? {} : { policySnapshot: policy_snapshot as string }),
  }
}
