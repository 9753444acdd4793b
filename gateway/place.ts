import type { Opened } from '../audit/event.ts'
import type { Before, DecidedEvent } from './decided-event.ts'
import type { Io } from './io.ts'
import { placesOf } from './running.ts'

/** A job that finds no place looks again this often; the record of its wait is written once. */
export const placeRetryMs = 500
/** Longer than this no job waits for a place. */
export const placeWaitMs = 10 * 60_000
/** A place is kept this much longer than its job can run, so that it is never given away early. */
const placeSpareMs = 60_000

/**
 * The last gate before a dispatch: where matching rules limit how many jobs run at once, the job takes its places or waits.
 * Whatever leads to a dispatch passes here.
 */
export async function placed(
  io: Io,
  opened: Opened,
  event: DecidedEvent,
  before?: Before,
): Promise<DecidedEvent> {
  if (event.event !== 'allowed' && event.event !== 'approved') return event
  const places = placesOf(io.policy(), event.decision.matched)
  const first = places[0]
  if (first === undefined) return event
  const nowMs = io.nowMs()
  const { deadline, attempts_max } = event.dispatch
  const untilMs = nowMs + (Date.parse(deadline) - nowMs) * attempts_max + placeSpareMs
  const rules = places.map(({ ruleId }) => ruleId)
  if (await io.running.enter(places, opened.job_id, untilMs, nowMs)) return { ...event, places: rules }
  const { decision, evidence, output } = event
  const resolution = event.event === 'approved' ? event.resolution : undefined
  const approval = event.event === 'approved' ? (event.approval ?? before?.approval) : undefined
  return {
    event: 'throttled',
    decision: {
      ...decision,
      type: 'THROTTLE',
      rule_id: first.ruleId,
      reason: 'As many jobs as the rule allows are running.',
    },
    evidence,
    ...(output === undefined ? {} : { output }),
    throttle: {
      rule_id: first.ruleId,
      not_before: new Date(nowMs + placeRetryMs).toISOString(),
      reserved: true,
      waits_for: 'place',
    },
    ...(resolution === undefined ? {} : { resolution }),
    ...(approval === undefined ? {} : { approval }),
  }
}
