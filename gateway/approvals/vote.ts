import type { Approval, Resolution } from '../../audit/event.ts'
import { levelOf, withinApproved } from '../../audit/approval.ts'
import type { RecordData } from '../../audit/record.ts'
import { tally } from '../../policy/ballot.ts'
import { canonicalJson } from '../../policy/digest.ts'
import { meetConstraints, normalConstraints, type Constraints } from '../../policy/constraints.ts'
import { parseJob } from '../../policy/job.ts'
import type { Stored } from '../bus/message.ts'
import type { Position } from '../chain.ts'
import type { ResolveCommand } from '../command.ts'
import { decide, deny, firstAttempt } from '../decide.ts'
import type { DecidedEvent } from '../decided-event.ts'
import type { Io } from '../io.ts'
import { placed } from '../place.ts'
import type { Proposal } from '../step.ts'
import { stopOf, thawedMs } from '../stops/stopped.ts'
import { pendingSubject } from '../subjects.ts'
import { countingVotes, mayNot, type Refused } from './entitled.ts'

/** A person's word on a parked job: whether it counts, and what it comes to together with those before it. */
export async function voting(io: Io, command: ResolveCommand, last: Position): Promise<Proposal> {
  const { data } = last.record
  const { approval } = data
  if (data.state.to !== 'PARKED' || approval === undefined) return waitsNoLonger(data)
  const stop = await stopOf(io, data, false)
  if (stop !== undefined && command.decision === 'approve')
    return {
      refuse: 'stopped',
      detail: `${stop.by} stopped this: ${stop.reason}; approve again when it is resumed`,
    }
  const refused =
    expired(io, data, approval) ??
    mayNot(io, command.by, data, approval) ??
    careless(command, approval) ??
    staleBinding(command, data)
  if (refused !== undefined) return refused
  const vote = voteOf(command)
  const voted = { ...approval, votes: [...approval.votes, vote] }
  const counting = [...countingVotes(io.topology, data), vote]
  switch (tally(approval.demands, counting, io.topology, levelOf(approval))) {
    case 'rejected':
      return { event: 'rejected', resolution: vote, approval: voted }
    case 'open':
      return (await isKept(io, data)) ? { event: 'voted', approval: voted } : notKeptYet
    case 'approved':
      return approving(io, data, vote, voted)
  }
}

/** What somebody is told who comes too late with a decision or a claim. */
export function waitsNoLonger(data: RecordData): Refused {
  return data.state.to === 'EXPIRED'
    ? { refuse: 'expired', detail: 'the approval expired and the job did not run' }
    : { refuse: 'already_resolved', detail: `the job is ${data.state.to}` }
}

/** For whoever comes between the record that parks a job and the copy that is parked. */
export const notKeptYet: Refused = {
  refuse: 'unavailable',
  detail: 'the parked copy is not there (yet): try again',
}

/**
 * Until then only the job's own cause has the bytes, and it has them for as long as what parked the job is its newest record: a
 * vote on top of that would end the cause, and if the gateway died before it stored the copy, nobody would have the bytes.
 */
export async function isKept(io: Io, data: RecordData): Promise<boolean> {
  return (await parkedCopy(io, data)) !== undefined
}

const parkedCopy = (io: Io, { job_id }: RecordData): Promise<Stored | undefined> =>
  io.bus.last('APPROVALS', pendingSubject(job_id))

/** Its time is over, though nobody has written that down yet. */
export function expired(io: Io, data: RecordData, approval: Approval): Refused | undefined {
  if (thawedMs(io, data, approval.requested_at, approval.expires_at) > io.nowMs()) return undefined
  return { refuse: 'expired', detail: `the approval expired at ${approval.expires_at}` }
}

/** What an approval must bring along by its level, and how long its rules let nobody be hasty. */
function careless(command: ResolveCommand, approval: Approval): Refused | undefined {
  const { decision, jobHash, policySnapshot, note } = command
  if (decision === 'reject') return undefined
  // By the time at which it came: carried out later, by another gateway, it was as early as before.
  if (approval.approve_from !== undefined && Date.parse(command.at) < Date.parse(approval.approve_from))
    return { refuse: 'too_early', detail: `this job can be approved from ${approval.approve_from} on` }
  const level = levelOf(approval)
  if (level !== 'normal' && note.trim() === '')
    return { refuse: 'note_required', detail: `an approval of level ${level} says why, in a note` }
  if (level === 'critical' && (jobHash === undefined || policySnapshot === undefined))
    return {
      refuse: 'binding_required',
      detail: 'an approval of level critical names the job_hash and the policy_snapshot that you looked at',
    }
  return undefined
}

function staleBinding(command: ResolveCommand, data: RecordData): Refused | undefined {
  if (command.jobHash !== undefined && command.jobHash !== data.job_hash)
    return { refuse: 'stale_binding', detail: 'the job hash is not the parked one: look at the job again' }
  if (command.policySnapshot !== undefined && command.policySnapshot !== data.decision.policy_snapshot)
    return {
      refuse: 'stale_binding',
      detail: 'the policy snapshot is not the one the job is parked under: look at the job again',
    }
  const wanted = command.constraints
  if (wanted === undefined) return undefined
  // Without a limit on retries there are none. And what more is denied never widens.
  const inForce = { max_retries: 0, ...data.decision.constraints }
  const met = meetConstraints(inForce, wanted)
  const alone = normalConstraints(wanted)
  // What meets the limits in force unchanged narrows them; anything else would be taken back silently.
  const widened = (Object.keys(wanted) as (keyof Constraints)[]).filter(
    (name) => !name.startsWith('deny_') && canonicalJson(met?.[name]) !== canonicalJson(alone[name]),
  )
  if (widened.length === 0) return undefined
  return { refuse: 'constraints_widen', detail: `an approver may only narrow limits: ${widened.join(', ')}` }
}

function voteOf(command: ResolveCommand): Resolution {
  return {
    decision: command.decision,
    by: command.by,
    via: command.via,
    at: command.at,
    note: command.note,
    binding: command.jobHash !== undefined && command.policySnapshot !== undefined ? 'client' : 'server',
    ...(command.constraints === undefined ? {} : { constraints: command.constraints }),
  }
}

/**
 * Decides once more, under the policy of this moment: the same requirement releases the job, with the stricter of all
 * constraint sets; another requirement is asked for again; a denial is a denial. Once parked, only a person releases.
 */
async function approving(
  io: Io,
  data: RecordData,
  resolution: Resolution,
  approval: Approval,
): Promise<Proposal> {
  const copy = await parkedCopy(io, data)
  if (copy === undefined) return notKeptYet
  const parsed = parseJob({ tenant: data.tenant, agent: data.actor.id }, data.topic, copy.body)
  if (!parsed.ok) return deny(io, parsed.refusal.ruleId, parsed.refusal.reason)
  const event = await decide(io, data, parsed.job, data.facts === undefined ? {} : { facts: data.facts })
  switch (event.event) {
    case 'denied':
      return { ...event, resolution }
    case 'throttled':
      return {
        ...event,
        decision: withinApproved(event.decision, data.decision.constraints, approval),
        resolution,
        approval,
      }
    case 'approved':
      return event
    case 'allowed':
      return placed(io, data, approved(io, data, event, resolution, approval))
    case 'parked':
      if (event.approval.requirement !== approval.requirement) return event
      return placed(io, data, approved(io, data, event, resolution, approval))
  }
}

function approved(
  io: Io,
  data: RecordData,
  event: Extract<DecidedEvent, { readonly event: 'allowed' | 'parked' }>,
  resolution: Resolution,
  approval: Approval,
): DecidedEvent {
  const decision = withinApproved(event.decision, data.decision.constraints, approval)
  const dispatch = firstAttempt(io, data, decision.constraints)
  if (typeof dispatch === 'string') return deny(io, 'sluice.no-pool', dispatch)
  const { evidence, output } = event
  return {
    event: 'approved',
    decision,
    evidence,
    ...(output === undefined ? {} : { output }),
    resolution,
    approval,
    dispatch,
  }
}
