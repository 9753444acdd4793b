import type { JobEvent, RecordData, Resolution } from '../audit/record.ts'
import type { State } from '../audit/lifecycle.ts'
import { shortHash } from '../policy/digest.ts'
import { meetConstraints } from '../policy/constraints.ts'
import type { JobId } from '../policy/job-id.ts'
import { parseJob } from '../policy/job.ts'
import { encodeCommand, type Command } from './command.ts'
import { decide, deny, firstAttempt } from './decide.ts'
import type { Position } from './chain.ts'
import type { Io } from './io.ts'
import type { Refusals } from './refusals.ts'
import { step, type Proposal, type Step } from './step.ts'
import { commandSubject, pendingSubject } from './subjects.ts'

export type ResolveCode =
  | 'not_found'
  | 'stale_binding'
  | 'rebound'
  | 'denied_now'
  | 'already_resolved'
  | 'not_cancellable'
  | 'expired'
  | 'self_approval'
  | 'unavailable'

export type Resolved =
  | {
      readonly type: 'resolved'
      readonly job_id: JobId
      readonly trace_id: string
      readonly state: State
      readonly resolution: Resolution
    }
  | {
      readonly type: 'refused'
      readonly code: ResolveCode
      readonly detail: string
      readonly state?: State
      /** The resolution on record, when somebody was first. */
      readonly resolution?: Resolution
    }

type Wish = { readonly job: JobId; readonly by: string; readonly via: 'http' | 'nats'; readonly note: string }
export type ResolveWish = Wish & {
  readonly decision: 'approve' | 'reject'
  readonly jobHash?: string | undefined
  readonly policySnapshot?: string | undefined
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

async function store(io: Io, refusals: Refusals, command: Command): Promise<Resolved> {
  try {
    // A job that never was leaves no command behind: guessing ids must not fill the stream.
    if ((await io.chain.last(command.job)) === undefined) return notFound
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
    (last) =>
      last === undefined
        ? { refuse: 'not_found' }
        : command.type === 'cancel'
          ? cancelling(command, last)
          : resolving(io, command, last),
  )
  const outcome = outcomeOf(command, done, cause)
  if (outcome.type === 'refused') {
    const { code, detail } = outcome
    await refusals.record({ job: command.job, principal: command.by, refuse: code, detail, cause })
  }
  return outcome
}

function cancelling(command: Command, last: Position): Proposal {
  const open = ['THROTTLED', 'PARKED', 'DISPATCHED'].includes(last.record.data.state.to)
  if (!open) return { refuse: 'not_cancellable', detail: `the job is ${last.record.data.state.to}` }
  return { event: 'cancelled', by: command.by, note: command.note }
}

async function resolving(io: Io, command: Command & { type: 'resolve' }, last: Position): Promise<Proposal> {
  const { data } = last.record
  if (data.state.to !== 'PARKED' || data.approval === undefined)
    return data.state.to === 'EXPIRED'
      ? { refuse: 'expired', detail: 'the approval expired and the job did not run' }
      : { refuse: 'already_resolved', detail: `the job is ${data.state.to}` }
  if (Date.parse(data.approval.expires_at) <= io.nowMs())
    return { refuse: 'expired', detail: `the approval expired at ${data.approval.expires_at}` }
  if (command.by === data.actor.id)
    return { refuse: 'self_approval', detail: 'nobody decides about an own job' }
  const stale = staleBinding(command, data)
  if (stale !== undefined) return { refuse: 'stale_binding', detail: stale }
  const resolution: Resolution = {
    decision: command.decision,
    by: command.by,
    via: command.via,
    at: command.at,
    note: command.note,
    binding: command.jobHash !== undefined && command.policySnapshot !== undefined ? 'client' : 'server',
  }
  if (command.decision === 'reject') return { event: 'rejected', resolution }
  return approving(io, data, resolution)
}

function staleBinding(command: Command & { type: 'resolve' }, data: RecordData): string | undefined {
  if (command.jobHash !== undefined && command.jobHash !== data.job_hash)
    return 'the job hash is not the parked one: look at the job again'
  if (command.policySnapshot !== undefined && command.policySnapshot !== data.decision.policy_snapshot)
    return 'the policy snapshot is not the one the job is parked under: look at the job again'
  return undefined
}

/**
 * Decides once more, under the policy of this moment: the same requirement releases the job, with the stricter of both
 * constraint sets; another requirement is asked for again; a denial is a denial. Once parked, only a person releases.
 */
async function approving(io: Io, data: RecordData, resolution: Resolution): Promise<Proposal> {
  const copy = await io.bus.last('APPROVALS', pendingSubject(data.job_id))
  if (copy === undefined)
    return { refuse: 'unavailable', detail: 'the parked copy is not there (yet): try again' }
  const parsed = parseJob({ tenant: data.tenant, agent: data.actor.id }, data.topic, copy.body)
  if (!parsed.ok) return deny(io, parsed.refusal.ruleId, parsed.refusal.reason)
  const event = await decide(io, data, parsed.job, data.facts === undefined ? {} : { facts: data.facts })
  switch (event.event) {
    case 'denied':
      return { ...event, resolution }
    case 'throttled':
      return { ...event, resolution }
    case 'approved':
      return event
    case 'allowed':
      return approved(io, data, event, resolution)
    case 'parked':
      if (event.approval.requirement !== data.approval?.requirement) return event
      return approved(io, data, event, resolution)
  }
}

function approved(
  io: Io,
  data: RecordData,
  event: JobEvent & { readonly event: 'allowed' | 'parked' },
  resolution: Resolution,
): JobEvent {
  const constraints = meetConstraints(data.decision.constraints, event.decision.constraints)
  const dispatch = firstAttempt(io, data, constraints)
  if (typeof dispatch === 'string') return deny(io, 'sluice.no-pool', dispatch)
  return {
    event: 'approved',
    decision: { ...event.decision, constraints },
    evidence: event.evidence,
    resolution,
    dispatch,
  }
}

const notFound: Resolved = { type: 'refused', code: 'not_found', detail: 'there is no such job' }

/** Read from the record that stands, not from what we proposed: who lost the race is told who won. */
function outcomeOf(command: Command, done: Step, cause: string): Resolved {
  if (done.at === undefined) return notFound
  const { data } = done.at.record
  const { resolution } = data
  const state = data.state.to
  const ours = data.causes.includes(cause)
  if (done.type === 'refused' || !ours) {
    const refuse = done.type === 'refused' ? done.refuse : 'already_resolved'
    const detail = done.type === 'refused' ? done.detail : `the job is ${state}`
    const by = resolution === undefined ? '' : `; ${resolution.by} was first`
    return {
      type: 'refused',
      code: refuse as ResolveCode,
      detail: detail + by,
      state,
      ...(resolution && { resolution }),
    }
  }
  if (command.type === 'cancel') {
    const { decision, ...rest } = { ...command, decision: 'reject' as const }
    const cancelled: Resolution = {
      decision,
      by: rest.by,
      via: rest.via,
      at: rest.at,
      note: rest.note,
      binding: 'server',
    }
    return { type: 'resolved', job_id: command.job, trace_id: data.trace_id, state, resolution: cancelled }
  }
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
