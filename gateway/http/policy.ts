import type { Context } from 'hono'
import type { Evaluation } from '../../policy/evaluate.ts'
import { explain, type Explanation } from '../../policy/explain.ts'
import { parseJob, type Job, type Refusal } from '../../policy/job.ts'
import { loadPolicy } from '../../policy/load.ts'
import { readScene, saysWho } from '../../policy/scene.ts'
import { noticeable } from '../../policy/severity.ts'
import type { Route } from './route.ts'
import { readObject, unknownKey } from './body.ts'
import { callerOf, onlyAgent, reaches } from './caller.ts'
import { problem } from './problem.ts'
import type { Io } from '../io.ts'

/** What would be decided, without a job, a record or a slot of any limit: the same functions as the commands use. */
export function policyRoutes(io: Io): readonly Route[] {
  return [
    { path: '/api/v1/policy/evaluate', methods: { POST: (c) => evaluated(io, c, 'evaluate') } },
    { path: '/api/v1/policy/explain', methods: { POST: (c) => evaluated(io, c, 'explain') } },
    { path: '/api/v1/policy/simulate', methods: { POST: (c) => simulated(io, c) } },
  ]
}

/** The body is a job as it would be submitted, or `{job}`; it may also say for whom and when, which is only asking. */
async function evaluated(io: Io, c: Context, how: 'evaluate' | 'explain'): Promise<Response> {
  const body = await readObject(c)
  if (!body.ok) return body.response
  const asked =
    Object.keys(body.value).join() === 'job'
      ? askedIn(io, c, body.value['job'])
      : askedIn(io, c, body.value, body.bytes)
  if ('response' in asked) return asked.response
  const { job, nowMs } = asked
  const policy = io.policy()
  const evaluation = io.evaluate(policy, job, { nowMs, granted: [] })
  if (how === 'evaluate') return c.json(outcome(evaluation))
  const told = explain(policy, job, nowMs)
  const near_misses = told.near_misses.filter((miss) => !namesOthers(io, c, miss))
  return c.json({ ...outcome(evaluation), ...told, near_misses })
}

/** What kept a rule from matching may be that it is about a tenant that does not exist for the caller. */
function namesOthers({ topology }: Io, c: Context, { failed, change }: NearMiss): boolean {
  const caller = callerOf(c)
  const words = [...failed.map(({ wanted }) => wanted), ...(change?.edits ?? [])]
    .join(' ')
    .split(/[^a-z0-9-]+/)
  return topology.tenants.some(({ name }) => !reaches(caller, name) && words.includes(name))
}

/** The body is `{job, policy}`: the job under the policy that is sent along, beside the policy in force. */
async function simulated(io: Io, c: Context): Promise<Response> {
  const body = await readObject(c)
  if (!body.ok) return body.response
  const unknown = unknownKey(body.value, ['job', 'policy'])
  if (unknown !== undefined) return problem(c, 'invalid', unknown)
  const { job: given, policy } = body.value
  // JSON is YAML, too: a policy that is no text is the text that it would be.
  const text = typeof policy === 'object' && policy !== null ? JSON.stringify(policy) : policy
  if (typeof text !== 'string')
    return problem(c, 'invalid', '"policy" must be the text of a policy file, or what it says as JSON')
  // First what costs little: who may not ask about this job must not have a policy compiled.
  const asked = askedIn(io, c, given)
  if ('response' in asked) return asked.response
  const loaded = loadPolicy(text)
  if (!loaded.ok)
    return problem(c, 'invalid_policy', loaded.problems[0]?.message ?? '', { problems: loaded.problems })
  const { job, nowMs } = asked
  const now = io.evaluate(io.policy(), job, { nowMs, granted: [] })
  const then = io.evaluate(loaded.policy, job, { nowMs, granted: [] })
  return c.json({
    changed: noticeable(now) !== noticeable(then),
    current: outcome(now),
    simulated: { ...outcome(then), ...explain(loaded.policy, job, nowMs) },
  })
}

type NearMiss = Explanation['near_misses'][number]

type Asked = { readonly job: Job; readonly nowMs: number } | { readonly response: Response }

/** A body that does not say for whom is the caller's own, byte for byte as it came. */
function askedIn(io: Io, c: Context, value: unknown, received?: Uint8Array): Asked {
  const topic = (value as { topic?: unknown } | null | undefined)?.topic
  if (typeof topic !== 'string') return { response: problem(c, 'invalid_job', 'the job needs a "topic"') }
  const caller = callerOf(c)
  if (saysWho(value)) {
    const read = readScene(value)
    if (!read.ok) return { response: refused(c, read.refusal) }
    const { job, nowMs } = read.scene
    const agent = onlyAgent(caller)
    if (!reaches(caller, job.tenant) || (agent !== undefined && agent !== job.agent))
      return { response: problem(c, 'identity_mismatch', 'the token asks for no such tenant or agent') }
    return { job, nowMs: nowMs ?? io.nowMs() }
  }
  if (caller.submits === undefined)
    return { response: problem(c, 'invalid', 'say whose job it would be: "tenant" and "actor"') }
  const parsed = parseJob(caller.submits, topic, received ?? Buffer.from(JSON.stringify(value)))
  return parsed.ok ? { job: parsed.job, nowMs: io.nowMs() } : { response: refused(c, parsed.refusal) }
}

function refused(c: Context, { ruleId, reason }: Refusal): Response {
  const name = ruleId === 'sluice.identity-mismatch' ? 'identity_mismatch' : 'invalid_job'
  return problem(c, name, reason, { rule_id: ruleId })
}

/** No limit is asked, so a rule that throttles says THROTTLE here even while its limit has room. */
function outcome({ decision, approval, throttles, tags }: Evaluation): object {
  return { decision, tags, approval, throttles }
}
