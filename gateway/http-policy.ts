import type { Context } from 'hono'
import type { Evaluation } from '../policy/evaluate.ts'
import { parseJob, type Job } from '../policy/job.ts'
import { loadPolicy, type Policy } from '../policy/load.ts'
import type { Route } from './http-app.ts'
import { readObject, unknownKey } from './http-body.ts'
import { devCaller } from './http-caller.ts'
import { problem } from './http-problem.ts'
import type { Io } from './io.ts'

/** What would be decided, without a job, a record or a slot of any limit. */
export function policyRoutes(io: Io): readonly Route[] {
  return [
    { path: '/api/v1/policy/evaluate', methods: { POST: (c) => evaluated(io, c, 'evaluate') } },
    { path: '/api/v1/policy/explain', methods: { POST: (c) => evaluated(io, c, 'explain') } },
    { path: '/api/v1/policy/simulate', methods: { POST: (c) => simulated(io, c) } },
  ]
}

/** The body is a job as it would be submitted. */
async function evaluated(io: Io, c: Context, how: 'evaluate' | 'explain'): Promise<Response> {
  const body = await readObject(c)
  if (!body.ok) return body.response
  const job = jobIn(c, body.value['topic'], body.bytes)
  if ('response' in job) return job.response
  const policy = io.policy()
  const evaluation = evaluateNow(io, policy, job.job)
  return c.json(
    how === 'evaluate' ? outcome(evaluation) : { ...outcome(evaluation), ...explained(policy, evaluation) },
  )
}

/** The body is `{job, policy}`: the job under the policy text that is sent along, beside the policy in force. */
async function simulated(io: Io, c: Context): Promise<Response> {
  const body = await readObject(c)
  if (!body.ok) return body.response
  const unknown = unknownKey(body.value, ['job', 'policy'])
  if (unknown !== undefined) return problem(c, 'invalid', unknown)
  const { job: given, policy: text } = body.value
  if (typeof text !== 'string') return problem(c, 'invalid', '"policy" must be the text of a policy file')
  const loaded = loadPolicy(text)
  if (!loaded.ok)
    return problem(c, 'invalid_policy', loaded.problems[0]?.message ?? '', { problems: loaded.problems })
  const job = jobIn(
    c,
    (given as { topic?: unknown } | null | undefined)?.topic,
    Buffer.from(JSON.stringify(given ?? null)),
  )
  if ('response' in job) return job.response
  const now = evaluateNow(io, io.policy(), job.job)
  const then = evaluateNow(io, loaded.policy, job.job)
  return c.json({
    changed: now.decision.type !== then.decision.type || now.decision.rule_id !== then.decision.rule_id,
    current: outcome(now),
    simulated: { ...outcome(then), ...explained(loaded.policy, then) },
  })
}

function jobIn(
  c: Context,
  topic: unknown,
  bytes: Uint8Array,
): { readonly job: Job } | { readonly response: Response } {
  if (typeof topic !== 'string') return { response: problem(c, 'invalid_job', 'the job needs a "topic"') }
  const parsed = parseJob(devCaller, topic, bytes)
  if (parsed.ok) return { job: parsed.job }
  const { ruleId, reason } = parsed.refusal
  const name = ruleId === 'sluice.identity-mismatch' ? 'identity_mismatch' : 'invalid_job'
  return { response: problem(c, name, reason, { rule_id: ruleId }) }
}

/** No limit is asked, so a rule that throttles says THROTTLE here even while its limit has room. */
function evaluateNow(io: Io, policy: Policy, job: Job): Evaluation {
  return io.evaluate(policy, job, { nowMs: io.nowMs(), granted: [] })
}

function outcome({ decision, approval, throttles, tags }: Evaluation): object {
  return { decision, tags, approval, throttles }
}

function explained(policy: Policy, { decision }: Evaluation): object {
  const matched = policy.rules
    .filter(({ id }) => decision.matched.includes(id))
    .map(({ id, decision: word, reason, constraints, description, owner }) => ({
      id,
      decision: word,
      reason,
      constraints,
      ...(description === undefined ? {} : { description }),
      ...(owner === undefined ? {} : { owner }),
    }))
  return { matched, rules: policy.ruleCount }
}
