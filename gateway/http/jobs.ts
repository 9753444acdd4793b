import type { Context } from 'hono'
import type { Answer } from '../../audit/answer.ts'
import { parseJob } from '../../policy/job.ts'
import type { HttpDeps, Route } from './route.ts'
import { queryFlag, queryNumber, readObject, readOptionalObject } from './body.ts'
import { callerOf, jobIdIn, onlyAgent } from './caller.ts'
import { problem } from './problem.ts'
import { readNote } from '../approvals/wish.ts'
import { resolvedResponse } from './resolution.ts'
import type { Io } from '../io.ts'
import { cancel, noSuchJob } from '../resolve.ts'
import { submit } from '../submit.ts'

const waitSecMax = 60
/** Callers that wait for a job hold a connection each; beyond so many they must ask again. */
const waitingMax = 1_000
/** Where callers are told apart, one of them cannot take the places of all. */
const waitingOfOneMax = 250
const idempotencyKey = /^[\x21-\x7e]{1,255}$/

/** Submitting a job, looking at it, ending it. */
export function jobRoutes(io: Io, deps: HttpDeps): readonly Route[] {
  const waits = waitingRoom(io.config.profile === 'dev' ? waitingMax : waitingOfOneMax)
  return [
    { path: '/api/v1/jobs', methods: { POST: (c) => submitJob(io, c) } },
    { path: '/api/v1/jobs/:id', methods: { GET: (c) => waits(c, () => showJob(deps, c)) } },
    { path: '/api/v1/jobs/:id/cancel', methods: { POST: (c) => cancelJob(io, deps, c) } },
  ]
}

function waitingRoom(ofOneMax: number): (c: Context, answer: () => Promise<Response>) => Promise<Response> {
  const waiting = new Map<string, number>()
  let all = 0
  return async (c, answer) => {
    const { principal } = callerOf(c)
    const before = waiting.get(principal) ?? 0
    if (all >= waitingMax || before >= ofOneMax)
      return problem(c, 'unavailable', 'too many callers wait: ask without wait')
    all++
    waiting.set(principal, before + 1)
    try {
      return await answer()
    } finally {
      all--
      const after = (waiting.get(principal) ?? 1) - 1
      if (after === 0) waiting.delete(principal)
      else waiting.set(principal, after)
    }
  }
}

/** Unreadable input is a problem and no job; everything that is a job gets an answer, also when it is denied. */
async function submitJob(io: Io, c: Context): Promise<Response> {
  const strict = queryFlag(c, 'strict', false)
  if (strict === undefined) return problem(c, 'invalid', '"strict" in the query must be true or false')
  const key = c.req.header('idempotency-key')
  if (key !== undefined && !idempotencyKey.test(key))
    return problem(c, 'invalid', 'Idempotency-Key must be 1 to 255 visible ASCII characters')
  const body = await readObject(c)
  if (!body.ok) return body.response
  const { topic } = body.value
  if (typeof topic !== 'string')
    return problem(
      c,
      'invalid_job',
      '"topic" is required over HTTP, such as "job.mcp-bridge.read.get_ticket"',
    )
  const { submits } = callerOf(c)
  if (submits === undefined) return problem(c, 'forbidden', 'only the token of an agent submits jobs')
  const parsed = parseJob(submits, topic, body.bytes)
  if (!parsed.ok) {
    const { ruleId, reason } = parsed.refusal
    const name = ruleId === 'sluice.identity-mismatch' ? 'identity_mismatch' : 'invalid_job'
    return problem(c, name, reason, { rule_id: ruleId })
  }
  const submitted = await submit(io, submits, topic, body.bytes, key, c.req.header('traceparent'))
  if (submitted.type === 'unavailable') {
    c.header('Retry-After', '1')
    return problem(c, 'unavailable', submitted.detail)
  }
  if (submitted.duplicate) c.header('Idempotent-Replayed', 'true')
  return answered(c, submitted.answer, strict)
}

function answered(c: Context, answer: Answer, strict: boolean): Response {
  const { decision, job_id } = answer
  if (decision.rule_id === 'sluice.idempotency-conflict')
    return problem(c, 'idempotency_conflict', decision.reason, { job_id })
  c.header('Location', `/api/v1/jobs/${job_id}`)
  if (!strict) return c.json(answer, 202)
  const { state } = answer
  if (state === 'THROTTLED' || (state === 'DENIED' && decision.type === 'THROTTLE')) {
    c.header('Retry-After', String(Math.max(1, Math.ceil((answer.retry_after_ms ?? 0) / 1_000))))
    const detail =
      state === 'DENIED'
        ? `${decision.reason} The job was not taken: send it again later, with another key if it had one`
        : 'the job is stored and runs when there is room: do not send it again'
    return problem(c, 'throttled', detail, answer)
  }
  return state === 'DENIED' ? problem(c, 'denied', decision.reason, answer) : c.json(answer, 202)
}

async function showJob({ queries }: HttpDeps, c: Context): Promise<Response> {
  const job = jobIdIn(c)
  if ('response' in job) return job.response
  const waitSec = queryNumber(c, 'wait', { min: 0, max: waitSecMax, otherwise: 0 })
  if (waitSec === undefined) return problem(c, 'invalid', `"wait" must be whole seconds, 0 to ${waitSecMax}`)
  const view = await queries.job(job.id, waitSec * 1_000, onlyAgent(callerOf(c)))
  if (view === undefined) return problem(c, 'not_found', 'no job with this id is on record (yet)')
  return c.json(view)
}

async function cancelJob(io: Io, { refusals }: HttpDeps, c: Context): Promise<Response> {
  const job = jobIdIn(c)
  if ('response' in job) return job.response
  const body = await readOptionalObject(c)
  if (!body.ok) return body.response
  const said = readNote(body.value)
  if (typeof said === 'string') return problem(c, 'invalid', said)
  const caller = callerOf(c)
  const actor = onlyAgent(caller)
  if (actor !== undefined && (await io.chain.last(job.id))?.record.data.actor.id !== actor)
    return resolvedResponse(c, noSuchJob)
  const wish = { job: job.id, by: caller.principal, via: 'http' as const, ...said }
  return resolvedResponse(c, await cancel(io, refusals, wish))
}
