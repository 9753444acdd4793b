import type { Context } from 'hono'
import { sendProblem } from './problem.ts'
import { resolveProblem } from './problem-details.ts'
import type { Resolved } from '../resolve.ts'

/** The answer to a person's decision, the same as on NATS. */
export function resolvedResponse(c: Context, resolved: Resolved): Response {
  if (resolved.type !== 'refused') {
    const { type: _type, ...told } = resolved
    return c.json(told)
  }
  const { type: _type, code, detail, ...facts } = resolved
  if (code === 'unavailable') c.header('Retry-After', '1')
  return sendProblem(c, resolveProblem(code, detail), facts)
}
