import { parseDeadlineMs } from './deadline.ts'
import { jobKeys, parseJob, type Job, type Refusal } from './job.ts'
import { bodyOf, type Sample } from './partial-job.ts'
import { quoted } from './problem.ts'
import type { ActorType } from './rule.ts'
import { usualMs } from './sample-time.ts'
import { nearest } from './suggest.ts'

/**
 * A job together with what the server knows and the agent does not say: `tenant`, `actor`, `actor_type`, `bytes` and `now`
 * stand beside the keys of the job. It is what people write into job files and suites, and what witnesses are printed as.
 */
export type Scene = { readonly job: Job; readonly nowMs: number | undefined }

export type ReadScene =
  | { readonly ok: true; readonly scene: Scene }
  | { readonly ok: false; readonly refusal: Refusal }

const around = ['tenant', 'actor', 'actor_type', 'bytes', 'now'] as const
const usualTenant = 'default'
const usualActor = 'demo'
const principalShape = /^[a-z0-9][a-z0-9-]{0,31}$/

/** A scene from parsed JSON or YAML. Who says nothing about tenant and actor means `default` and `demo`. */
export function readScene(value: unknown): ReadScene {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return invalid('the job must be one object')
  const written = value as Record<string, unknown>
  const { tenant = usualTenant, actor = usualActor, actor_type: actorType = 'agent', bytes, now } = written
  const unknown = Object.keys(written).find((key) => ![...jobKeys, ...around].includes(key as 'topic'))
  if (unknown !== undefined) {
    const meant = nearest(unknown, [...jobKeys, ...around])
    return invalid(`unknown key ${quoted(unknown)}${meant === undefined ? '' : `; did you mean "${meant}"?`}`)
  }
  if (!isPrincipal(tenant)) return invalid('"tenant" must be 1 to 32 of a-z, 0-9 and "-"')
  if (!isPrincipal(actor)) return invalid('"actor" must be 1 to 32 of a-z, 0-9 and "-"')
  if (actorType !== 'agent' && actorType !== 'human' && actorType !== 'service')
    return invalid('"actor_type" must be agent, human or service')
  if (bytes !== undefined && !(Number.isInteger(bytes) && (bytes as number) >= 0))
    return invalid('"bytes" must be a whole number')
  const nowMs = now === undefined ? undefined : typeof now === 'string' ? parseDeadlineMs(now) : NaN
  if (nowMs === undefined ? now !== undefined : Number.isNaN(nowMs))
    return invalid('"now" must be an RFC 3339 time with a zone, such as 2030-01-31T12:00:00Z')
  const { topic } = written
  if (typeof topic !== 'string') return invalid('the job needs a "topic"')
  // Object.fromEntries defines its keys, so that a key such as __proto__ comes through to where it is refused.
  const entries = Object.entries(written).filter(([key]) => !around.includes(key as 'now'))
  const body = Buffer.from(JSON.stringify(Object.fromEntries(entries)))
  const parsed = parseJob({ tenant, agent: actor, actorType: actorType as ActorType }, topic, body)
  if (!parsed.ok) return { ok: false, refusal: parsed.refusal }
  const job = bytes === undefined ? parsed.job : { ...parsed.job, bytes: bytes as number }
  return { ok: true, scene: { job, nowMs } }
}

/** Does it say more than an agent may: who submits it, how large it is, or when? */
export function saysWho(value: unknown): boolean {
  return typeof value === 'object' && value !== null && around.some((key) => Object.hasOwn(value, key))
}

/** The scene of a witness, to be printed and read again. Size and time stand in it only where they are not the usual ones. */
export function sceneOf({ job, nowMs }: Sample): Record<string, unknown> {
  const body = bodyOf(job)
  return {
    tenant: job.tenant,
    actor: job.agent,
    ...(job.actorType === undefined || job.actorType === 'agent' ? {} : { actor_type: job.actorType }),
    ...body,
    ...(job.bytes === Buffer.byteLength(JSON.stringify(body)) ? {} : { bytes: job.bytes }),
    ...(nowMs === usualMs ? {} : { now: new Date(nowMs).toISOString() }),
  }
}

function isPrincipal(value: unknown): value is string {
  return typeof value === 'string' && principalShape.test(value)
}

function invalid(reason: string): ReadScene {
  return { ok: false, refusal: { ruleId: 'sluice.invalid-job', reason } }
}
