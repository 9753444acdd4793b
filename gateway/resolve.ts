import type { Claim, Resolution } from '../audit/event.ts'
import type { State } from '../audit/lifecycle.ts'
import type { Constraints } from '../policy/constraints.ts'
import { shortHash } from '../policy/digest.ts'
import type { JobId } from '../policy/job-id.ts'
import { claiming } from './approvals/claim.ts'
import { encodeCommand, type Command } from './command.ts'
import type { Position } from './chain.ts'
import type { Io } from './io.ts'
import type { Refusals } from './refusals.ts'
import { step, type Proposal, type Step } from './step.ts'
import { commandSubject } from './subjects.ts'
import { decidesFor } from './config/topology.ts'
import { voting } from './approvals/vote.ts'

export type ResolveCode =
  | 'not_found'
  | 'stale_binding'
  | 'rebound'
  | 'denied_now'
  | 'already_resolved'
  | 'not_cancellable'
  | 'expired'
  | 'self_approval'
  | 'not_an_approver'
  | 'already_voted'
  | 'already_claimed'
  | 'constraints_widen'
  | 'binding_required'
  | 'note_required'
  | 'too_early'
  | 'stopped'
  | 'too_large'
  | 'unavailable'

export type Resolved =
  | {
      readonly type: 'resolved'
      readonly job_id: JobId
      readonly trace_id: string
      readonly state: State
      readonly resolution: Resolution | Cancellation
    }
  | {
      readonly type: 'claimed'
      readonly job_id: JobId
      readonly trace_id: string
      readonly state: State
      readonly claim: Claim
    }
  | {
      readonly type: 'refused'
      readonly code: ResolveCode
      readonly detail: string
      readonly state?: State
      /** The resolution on record, when somebody was first. */
      readonly resolution?: Resolution
      /** From when on the approval that came too early is possible. */
      readonly approve_from?: string
    }

/** Who ended a job that waited or ran, and why. */
type Cancellation = Pick<Resolution, 'by' | 'via' | 'at' | 'note'> & { readonly decision: 'cancel' }

type Wish = { readonly job: JobId; readonly by: string; readonly via: 'http' | 'nats'; readonly note: string }
export type ResolveWish = Wish & {
  readonly decision: 'approve' | 'reject'
  readonly jobHash?: string | undefined
  readonly policySnapshot?: string | undefined
  /** Limits that the approver adds; they can only narrow. */
  readonly constraints?: Constraints | undefined
}

/** Stores the decision of a person as a command and carries it out; if this process dies, the stored command is carried out by another. */
export function resolve(io: Io, refusals: Refusals, wish: ResolveWish): Promise<Resolved> {
  const { decision, ...rest } = wish
  return store(io, refusals, { ...rest, type: 'resolve', decision, at: new Date(io.nowMs()).toISOString() })
}

/** The same for the end of a job that waits or runs. */
export function cancel(io: Io, refusals: Refusals, wish: Wish): Promise<Resolved> {
  return store(io, refusals, { ...wish, type: 'cancel', at: new Date(io.nowMs()).toISOString() })
}

/** The same for a word to colleagues about a job that is parked. */
export function claim(io: Io, refusals: Refusals, wish: Wish): Promise<Resolved> {
  return store(io, refusals, { ...wish, type: 'claim', at: new Date(io.nowMs()).toISOString() })
}

async function store(io: Io, refusals: Refusals, command: Command): Promise<Resolved> {
  try {
    // A job that never was leaves no command behind: guessing ids must not fill the stream.
    const last = await io.chain.last(command.job)
    if (last === undefined) return noSuchJob
    if (!decidesFor(io.topology, command.by, last.record.data.tenant)) {
      // Another tenant's job is one that never was; that somebody asked for it stands on record.
      await note(refusals, command, 'foreign-tenant', 'this person does not decide for the tenant of the job')
      return noSuchJob
    }
    const unbound = command.type === 'resolve' && command.jobHash === undefined
    // At the door: a command that is stored may be carried out by a gateway that was told otherwise.
    if (unbound && io.config.approvals.requireBinding) {
      const [code, detail] = ['binding_required', 'send the job_hash of the job that you looked at'] as const
      await note(refusals, command, code, detail)
      return { type: 'refused', code, detail, state: last.record.data.state.to }
    }
    const appended = await io.bus.append(commandSubject(command.job), encodeCommand(command))
    if (appended.type !== 'stored')
      return { type: 'refused', code: 'unavailable', detail: 'the command could not be stored' }
    return await carryOutCommand(io, refusals, command, commandCause(appended.sequence, command))
  } catch (error) {
    io.log.warn({ jobId: command.job, err: error }, 'a command was not finished here')
    return {
      type: 'refused',
      code: 'unavailable',
      detail: 'not finished: look at the job before trying again',
    }
  }
}

/** What is refused before there is a command. */
function note(refusals: Refusals, command: Command, refuse: string, detail: string): Promise<void> {
  const { job, by, at } = command
  const cause = shortHash(`${refuse}:${job}:${at}:${by}`)
  return refusals.record({ job, principal: by, refuse, detail, cause })
}

/** The same for the process that stores the command and for the one that gets it delivered. */
export function commandCause(sequence: number, command: Command): string {
  return shortHash(`COMMANDS:${sequence}:${command.at}:${command.by}`)
}

/** A person decides: check the binding, decide again under today's policy, step. */
export async function carryOutCommand(
  io: Io,
  refusals: Refusals,
  command: Command,
  cause: string,
): Promise<Resolved> {
  const done = await step(
    io,
    { job: command.job, id: cause, around: {} },
    await io.chain.last(command.job),
    (last) => (last === undefined ? { refuse: 'not_found' } : proposalOf(io, command, last)),
  )
  const outcome = outcomeOf(command, done, cause)
  // What was only not possible yet was not refused: the stored command is tried again.
  if (outcome.type === 'refused' && outcome.code !== 'unavailable') {
    const { code, detail } = outcome
    await refusals.record({ job: command.job, principal: command.by, refuse: code, detail, cause })
  }
  return outcome
}

function proposalOf(io: Io, command: Command, last: Position): Proposal | Promise<Proposal> {
  switch (command.type) {
    case 'resolve':
      return voting(io, command, last)
    case 'claim':
      return claiming(io, command, last)
    case 'cancel':
      return cancelling(command, last)
  }
}

function cancelling(command: Command, last: Position): Proposal {
  const open = ['THROTTLED', 'PARKED', 'DISPATCHED'].includes(last.record.data.state.to)
  if (!open) return { refuse: 'not_cancellable', detail: `the job is ${last.record.data.state.to}` }
  return { event: 'cancelled', by: command.by, note: command.note }
}

/** Also what a job is for somebody who must not know of it. */
export const noSuchJob: Resolved = { type: 'refused', code: 'not_found', detail: 'there is no such job' }

/** Read from the record that stands, not from what we proposed: who lost the race is told who won. */
function outcomeOf(command: Command, done: Step, cause: string): Resolved {
  if (done.at === undefined) return noSuchJob
  const { data } = done.at.record
  const { resolution } = data
  const state = data.state.to
  const ours = data.causes.includes(cause)
  if (done.type === 'refused' || !ours) {
    const refuse = done.type === 'refused' ? done.refuse : 'already_resolved'
    const detail = done.type === 'refused' ? done.detail : `the job is ${state}`
    const by = resolution === undefined ? '' : `; ${resolution.by} was first`
    const from = refuse === 'too_early' ? data.approval?.approve_from : undefined
    return {
      type: 'refused',
      code: refuse as ResolveCode,
      detail: detail + by,
      state,
      ...(resolution && { resolution }),
      ...(from && { approve_from: from }),
    }
  }
  if (command.type === 'cancel') {
    const { by, via, at, note } = command
    const cancelled: Cancellation = { decision: 'cancel', by, via, at, note }
    return { type: 'resolved', job_id: command.job, trace_id: data.trace_id, state, resolution: cancelled }
  }
  if (command.type === 'claim') {
    const held = data.approval?.claim
    if (held === undefined || held.by !== command.by || held.at !== command.at)
      return { type: 'refused', code: 'already_resolved', detail: `the job is ${state}`, state }
    return { type: 'claimed', job_id: command.job, trace_id: data.trace_id, state, claim: held }
  }
  const vote = data.approval?.votes.find(({ by, at }) => by === command.by && at === command.at)
  if (state === 'PARKED' && vote !== undefined)
    return { type: 'resolved', job_id: command.job, trace_id: data.trace_id, state, resolution: vote }
  if (state === 'PARKED')
    return {
      type: 'refused',
      code: 'rebound',
      detail: 'the policy asks for another approval now: the job was parked again under it',
      state,
    }
  if (state === 'DENIED') return { type: 'refused', code: 'denied_now', detail: data.decision.reason, state }
  if (resolution === undefined || resolution.by !== command.by || resolution.at !== command.at)
    return {
      type: 'refused',
      code: 'already_resolved',
      detail: `the job is ${state}`,
      state,
      ...(resolution && { resolution }),
    }
  return { type: 'resolved', job_id: command.job, trace_id: data.trace_id, state, resolution }
}
