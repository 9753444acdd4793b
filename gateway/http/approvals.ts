import type { Context } from 'hono'
import type { RecordData } from '../../audit/record.ts'
import type { HttpDeps, Route } from './route.ts'
import { mayNot } from '../approvals/entitled.ts'
import { readNote, readSaid } from '../approvals/wish.ts'
import { queryFlag, queryNumber, readOptionalObject } from './body.ts'
import { callerOf, jobIdIn } from './caller.ts'
import { problem } from './problem.ts'
import { resolvedResponse } from './resolution.ts'
import type { Io } from '../io.ts'
import { approvalsLimitMax } from '../queries/approvals.ts'
import { parseCursor } from '../queries/approvals-asked.ts'
import { claim, resolve } from '../resolve.ts'

const limitByDefault = 100

/** What waits for a person, and what the person says. */
export function approvalRoutes(io: Io, deps: HttpDeps): readonly Route[] {
  return [
    { path: '/api/v1/approvals', methods: { GET: (c) => list(io, deps, c) } },
    { path: '/api/v1/approvals/:id', methods: { GET: (c) => show(deps, c) } },
    { path: '/api/v1/approvals/:id/approve', methods: { POST: (c) => decide(io, deps, c, 'approve') } },
    { path: '/api/v1/approvals/:id/claim', methods: { POST: (c) => claimOne(io, deps, c) } },
    { path: '/api/v1/approvals/:id/reject', methods: { POST: (c) => decide(io, deps, c, 'reject') } },
  ]
}

async function list(io: Io, { queries }: HttpDeps, c: Context): Promise<Response> {
  const includeResolved = queryFlag(c, 'include_resolved', false)
  if (includeResolved === undefined)
    return problem(c, 'invalid', '"include_resolved" in the query must be true or false')
  const mine = queryFlag(c, 'mine', false)
  if (mine === undefined || (mine && includeResolved))
    return problem(c, 'invalid', '"mine" must be true or false, and asks only for what waits')
  const caller = callerOf(c)
  if (mine && !caller.roles.includes('approver'))
    return problem(c, 'forbidden', 'whoever is no approver decides about nothing')
  const limit = queryNumber(c, 'limit', { min: 1, max: approvalsLimitMax, otherwise: limitByDefault })
  if (limit === undefined) return problem(c, 'invalid', `"limit" must be 1 to ${approvalsLimitMax}`)
  const text = c.req.query('cursor')
  const cursor = text === undefined ? undefined : parseCursor(text)
  if (text !== undefined && cursor === undefined)
    return problem(c, 'invalid', '"cursor" must be the next_cursor of an earlier answer')
  const { tenants, principal } = caller
  const wanted = mine ? (data: RecordData): boolean => mayDecide(io, principal, data) : undefined
  return c.json(await queries.approvals({ includeResolved, limit, cursor, tenants, wanted }))
}

/** Whether this person's word would be taken; not whether it is too early, stopped or without a note. */
function mayDecide(io: Io, person: string, data: RecordData): boolean {
  return data.approval !== undefined && mayNot(io, person, data, data.approval) === undefined
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
  const said = readSaid(body.value, c.req.header('if-match'))
  if (typeof said === 'string') return problem(c, 'invalid', said)
  const who = { job: job.id, by: callerOf(c).principal, via: 'http' as const }
  return resolvedResponse(c, await resolve(io, refusals, { ...who, decision, ...said }))
}

async function claimOne(io: Io, { refusals }: HttpDeps, c: Context): Promise<Response> {
  const job = jobIdIn(c)
  if ('response' in job) return job.response
  const body = await readOptionalObject(c)
  if (!body.ok) return body.response
  const said = readNote(body.value)
  if (typeof said === 'string') return problem(c, 'invalid', said)
  const who = { job: job.id, by: callerOf(c).principal, via: 'http' as const }
  return resolvedResponse(c, await claim(io, refusals, { ...who, ...said }))
}
