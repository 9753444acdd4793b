import type { Context } from 'hono'
import { z } from 'zod'
import { loadPolicy } from '../../policy/load.ts'
import type { Route } from './route.ts'
import { callerOf } from './caller.ts'
import { ordered } from './control.ts'
import { problem } from './problem.ts'
import type { Io } from '../io.ts'

const reason = z.string().min(1, 'must say why').max(1_000)
const rollbackOrder = z.strictObject({
  /** A snapshot, or enough of its beginning; null ends the rollback. */
  snapshot: z
    .string()
    .regex(/^[0-9a-f]{8,64}$/, 'must be 8 to 64 hexadecimal digits')
    .nullable(),
  reason,
})
const shadowOrder = z.strictObject({ policy: z.string().nullable(), reason })

/** The policies that were in force, going back to one of them, and a candidate beside the one in force. */
export function policyLiveRoutes(io: Io): readonly Route[] {
  return [
    { path: '/api/v1/policy/snapshots', methods: { GET: (c) => snapshots(io, c) } },
    { path: '/api/v1/policy/snapshots/:snapshot', methods: { GET: (c) => snapshot(io, c) } },
    { path: '/api/v1/policy/rollback', methods: { POST: (c) => rollback(io, c) } },
    { path: '/api/v1/policy/shadow', methods: { POST: (c) => shadow(io, c) } },
  ]
}

async function snapshots(io: Io, c: Context): Promise<Response> {
  return c.json({ ...inForce(io), snapshots: (await io.policies.store.snapshots()).toSorted() })
}

async function snapshot(io: Io, c: Context): Promise<Response> {
  const found = await whole(io, c.req.param('snapshot') ?? '')
  const text = found === undefined ? undefined : await io.policies.store.text(found)
  if (text === undefined) return problem(c, 'not_found', 'no policy was kept under this snapshot')
  return c.json({ policy_snapshot: found, policy: text })
}

async function rollback(io: Io, c: Context): Promise<Response> {
  const order = await ordered(c, rollbackOrder)
  if ('response' in order) return order.response
  const { snapshot: asked, reason: why } = order.value
  const to = asked === null ? null : await whole(io, asked)
  if (to === undefined || (await io.policies.rollBack(to, callerOf(c).principal, why)) === 'unknown')
    return problem(c, 'not_found', 'no policy was kept under this snapshot, or more than one begins with it')
  return c.json(inForce(io))
}

async function shadow(io: Io, c: Context): Promise<Response> {
  const order = await ordered(c, shadowOrder)
  if ('response' in order) return order.response
  const { policy: text, reason: why } = order.value
  if (text === null) await io.policies.setShadow(null, callerOf(c).principal, why)
  else {
    const loaded = loadPolicy(text)
    if (!loaded.ok)
      return problem(c, 'invalid_policy', loaded.problems[0]?.message ?? '', { problems: loaded.problems })
    await io.policies.setShadow({ policy: loaded.policy, text }, callerOf(c).principal, why)
  }
  return c.json(inForce(io))
}

function inForce({ policies }: Io): object {
  return {
    policy_snapshot: policies.current().snapshot,
    shadow_snapshot: policies.shadow()?.snapshot ?? null,
  }
}

/** The one kept snapshot that begins so. */
async function whole(io: Io, beginning: string): Promise<string | undefined> {
  if (!/^[0-9a-f]{8,64}$/.test(beginning)) return undefined
  const found = (await io.policies.store.snapshots()).filter((one) => one.startsWith(beginning))
  return found.length === 1 ? found[0] : undefined
}
