import { shortHash } from '../../policy/digest.ts'
import { parseJson } from '../../policy/json.ts'
import { carryOutOrder, shownStop } from './order.ts'
import type { Io } from '../io.ts'
import type { Heard } from '../bus/message.ts'
import { invalidProblem, noSuchThing, unavailableProblem } from '../http/problem-details.ts'
import type { Refusals } from '../refusals.ts'
import { parseControl } from '../subjects.ts'

const inFlightMax = 64
const orderBytesMax = 16 * 1024

/**
 * Operators use the kill switch by request on `control.<operator>.stop|resume|list`; the server pinned the operator's name to
 * the subject. Every gateway hears every order and carries it out if nobody has yet: one that is dead or stopped must not be
 * the only one that was told.
 */
export function openOperators(io: Io, refusals: Refusals): void {
  let inFlight = 0
  io.bus.subscribe('control.>', undefined, (message) => {
    // An order is a request: its reply subject, which the server made, tells it from the next one with the same words.
    if (!message.reply.startsWith('_R_.') || inFlight >= inFlightMax) return
    inFlight++
    answerTo(io, refusals, message)
      .catch((err: unknown) => {
        io.log.error({ err }, 'an order was not carried out here')
        return unavailableProblem('the order could not be carried out wholly; look at what is stopped')
      })
      .then((body) => io.bus.publish(message.reply, JSON.stringify(body)))
      .catch((err: unknown) => io.log.error({ err }, 'an operator could not be answered'))
      .finally(() => inFlight--)
  })
}

async function answerTo(io: Io, refusals: Refusals, message: Heard): Promise<object> {
  const asked = parseControl(message.subject)
  if (asked === undefined) return noSuchThing('the subject is control.<operator>.stop, .resume or .list')
  const { operator, verb } = asked
  const key = shortHash(`${message.subject}\0${message.reply}\0${Buffer.from(message.body).toString('hex')}`)
  if (!io.topology.operators.includes(operator)) {
    const refusal = {
      job: undefined,
      principal: operator,
      refuse: 'not_an_operator',
      detail: verb,
      cause: key,
    }
    await refusals.record(refusal)
    return noSuchThing('no such operator in the topology')
  }
  if (verb === 'list') return { stops: io.control.stops().map(shownStop) }
  const body = readBody(message.body)
  if (body === undefined) return invalidProblem('the body is not a JSON object')
  const done = await carryOutOrder(io, verb, body, { by: operator, key, mayNot: () => undefined })
  return done.ok ? done.stop : done.problem
}

function readBody(bytes: Uint8Array): unknown {
  if (bytes.length > orderBytesMax) return undefined
  const parsed = parseJson(bytes)
  return parsed.ok ? parsed.value : undefined
}
