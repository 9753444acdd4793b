import type { Context } from 'hono'
import { noteCharsMax } from '../command.ts'
import { unknownKey, type JsonObject } from './body.ts'
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

/** The note of a decision, under either of its names; empty if there is none. */
export function noteIn(
  body: JsonObject,
  known: readonly string[],
): { readonly ok: true; readonly note: string } | { readonly ok: false; readonly problem: string } {
  const unknown = unknownKey(body, known)
  if (unknown !== undefined) return { ok: false, problem: unknown }
  const { note, reason } = body
  if (note !== undefined && reason !== undefined && note !== reason)
    return { ok: false, problem: '"note" and "reason" are two names of one thing: send one of them' }
  const text = note ?? reason ?? ''
  if (typeof text !== 'string') return { ok: false, problem: '"note" must be text' }
  if (text.length > noteCharsMax)
    return { ok: false, problem: `"note" has more than ${noteCharsMax} characters` }
  return { ok: true, note: text }
}
