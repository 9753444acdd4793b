import { z } from 'zod'
import type { Stop, StopScope } from '../../policy/stop.ts'
import { patternProblem } from '../../policy/topic.ts'
import type { Topology } from '../config/topology.ts'
import type { Io } from '../io.ts'
import {
  invalidProblem,
  noSuchThing,
  unavailableProblem,
  type ProblemDetails,
} from '../http/problem-details.ts'

const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'must be a name')
const reasonBytesMax = 1_000
/** In bytes as they are stored: all orders together must fit into one message, whoever writes them. */
const reason = z
  .string()
  .min(1, 'must say why')
  .refine((text) => Buffer.byteLength(JSON.stringify(text)) <= reasonBytesMax + 2, {
    message: `must have at most ${reasonBytesMax} bytes as JSON`,
  })
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

const shapes = {
  stop: z.strictObject({ scope, reason }),
  resume: z.strictObject({ id: z.string().max(64), stage: z.enum(['draining', 'resumed']), reason }),
}

/** A stop as people read it; times are RFC 3339 or null. */
export type ShownStop = Readonly<Record<string, unknown>>

export type OrderAnswer =
  | { readonly ok: true; readonly stop: ShownStop }
  | { readonly ok: false; readonly problem: ProblemDetails }

/** Who orders, as the door they came through knows them. */
export type Operator = {
  readonly by: string
  /** Names the request where several gateways hear the same one. */
  readonly key?: string
  /** Why this operator may not stop or resume this, if so. */
  readonly mayNot: (covered: StopScope) => ProblemDetails | undefined
}

/** Carries out an order to the kill switch. HTTP and NATS take the same object and give the same answer. */
export async function carryOutOrder(
  { control, topology }: Pick<Io, 'control' | 'topology'>,
  verb: keyof typeof shapes,
  body: unknown,
  operator: Operator,
): Promise<OrderAnswer> {
  if (verb === 'stop') {
    const order = shapes.stop.safeParse(body)
    if (!order.success) return unreadable(order.error)
    const problem = operator.mayNot(order.data.scope)
    if (problem !== undefined) return { ok: false, problem }
    const { by, key } = operator
    const stop = await control.stop({ ...order.data, by, ...(key && { key }) })
    if (stop === 'too-many') return { ok: false, problem: tooManyStops }
    return { ok: true, stop: { ...shownStop(stop), ...unknownName(topology, order.data.scope) } }
  }
  const wish = shapes.resume.safeParse(body)
  if (!wish.success) return unreadable(wish.error)
  // Whose a stop is can be said only of one that this gateway has read.
  await control.read()
  const known = control.stops().find(({ id }) => id === wish.data.id)
  const problem = known === undefined ? noSuchStop : operator.mayNot(known.scope)
  if (problem !== undefined) return { ok: false, problem }
  const resumed = await control.resume({ ...wish.data, by: operator.by })
  return resumed === undefined ? { ok: false, problem: noSuchStop } : { ok: true, stop: shownStop(resumed) }
}

export const noSuchStop = noSuchThing('there is no such stop or tenant')

const tooManyStops = unavailableProblem('too many stops hold already: resume some first')

/** An order is carried out whatever it names, because old jobs have old names; but a misspelt one must not go unnoticed. */
function unknownName({ tenants }: Topology, covered: StopScope): { readonly warning?: string } {
  if (covered.kind === 'all' || covered.kind === 'topic') return {}
  const tenant = tenants.find(({ name: one }) => one === covered.tenant)
  const missing =
    tenant === undefined
      ? `tenant ${covered.tenant}`
      : covered.kind === 'agent' && !tenant.agents.some(({ name: one }) => one === covered.agent)
        ? `agent ${covered.agent} of tenant ${covered.tenant}`
        : undefined
  return missing === undefined ? {} : { warning: `the topology knows no ${missing}: this may stop nothing` }
}

function unreadable({ issues: [issue] }: z.ZodError): OrderAnswer {
  const problem = invalidProblem(`${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'invalid'}`)
  return { ok: false, problem }
}

export function shownStop(stop: Stop): ShownStop {
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
