import { resolveProblem } from '../http/problem-details.ts'
import type { Heard } from '../bus/message.ts'
import { parseAsked } from './wish.ts'
import type { Io } from '../io.ts'
import type { Refusals } from '../refusals.ts'
import { claim, resolve, type Resolved } from '../resolve.ts'
import { parseResolve } from '../subjects.ts'

const inFlightMax = 256

/** People decide by request on `approvals.resolve.<approver>.<job>`; the server pinned the approver's name to the subject. */
export function openApprovers(io: Io, refusals: Refusals): void {
  let inFlight = 0
  io.bus.subscribe('approvals.resolve.>', 'gw', (message) => {
    if (inFlight >= inFlightMax) return answer(io, message, resolveProblem('unavailable', 'too many at once'))
    inFlight++
    decideOn(io, refusals, message)
      .then((body) => answer(io, message, body))
      .catch((err: unknown) => io.log.error({ err }, 'a resolution failed'))
      .finally(() => inFlight--)
  })
}

async function decideOn(io: Io, refusals: Refusals, message: Heard): Promise<object> {
  const subject = parseResolve(message.subject)
  if (subject === undefined)
    return resolveProblem('not_found', 'the subject ends in <approver>.<tenant>.<id>')
  if (!io.topology.approvers.includes(subject.approver))
    return resolveProblem('not_found', 'no such approver in the topology')
  const asked = parseAsked(message.body)
  if ('status' in asked) return asked
  const { decision, ...said } = asked
  const who = { job: subject.job, by: subject.approver, via: 'nats', ...said } as const
  if (decision === 'claim') return resolvedBody(await claim(io, refusals, who))
  return resolvedBody(await resolve(io, refusals, { ...who, decision }))
}

/** The answer of HTTP and NATS to a resolution. */
export function resolvedBody(resolved: Resolved): object {
  if (resolved.type === 'refused') {
    const { type: _type, code, detail, ...facts } = resolved
    return { ...resolveProblem(code, detail), ...facts }
  }
  const { type: _type, ...told } = resolved
  return told
}

/** Replies go to the server's routed subjects only; a plain publish has nobody to tell. */
function answer(io: Io, message: Heard, body: object): void {
  if (message.reply.startsWith('_R_.')) io.bus.publish(message.reply, JSON.stringify(body))
}
