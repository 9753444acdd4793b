import type { Claim } from '../../audit/event.ts'
import type { Position } from '../chain.ts'
import type { Command } from '../command.ts'
import type { Io } from '../io.ts'
import type { Proposal } from '../step.ts'
import { mayNot } from './entitled.ts'
import { expired, isKept, notKeptYet, waitsNoLonger } from './vote.ts'

/** Long enough to look at a job, short enough to be forgotten. */
const claimForMs = 15 * 60_000

/**
 * Somebody says "I am on it": a record that colleagues see in the list and on the card. It locks nothing, anybody may still
 * decide; while it lasts there is no second one, so that the chain does not grow with everybody's good intentions.
 */
export async function claiming(
  io: Io,
  { by, via, at, note }: Command,
  { record: { data } }: Position,
): Promise<Proposal> {
  const { approval } = data
  if (data.state.to !== 'PARKED' || approval === undefined) return waitsNoLonger(data)
  const refused = expired(io, data, approval) ?? mayNot(io, by, data, approval)
  if (refused !== undefined) return refused
  const held = approval.claim
  if (held !== undefined && Date.parse(held.until) > io.nowMs())
    return { refuse: 'already_claimed', detail: `${held.by} is on it until ${held.until}` }
  if (!(await isKept(io, data))) return notKeptYet
  const claim: Claim = { by, via, at, note, until: new Date(Date.parse(at) + claimForMs).toISOString() }
  return { event: 'claimed', approval: { ...approval, claim } }
}
