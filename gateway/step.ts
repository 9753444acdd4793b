import type { JobEvent } from '../audit/event.ts'
import { recordNext, type AuditRecord } from '../audit/record.ts'
import { shortHash } from '../policy/digest.ts'
import type { Position } from './chain.ts'
import type { Io } from './io.ts'
import { removeLeftCopies } from './copies.ts'
import { deny } from './decide.ts'
import type { Cause } from './cause.ts'
import { perform } from './perform.ts'
import { mayLeaveBy } from './stops/stopped.ts'

/** What somebody wants to happen to a job, or why not. */
export type Proposal = JobEvent | { readonly refuse: string; readonly detail?: string }

export type Step =
  /** Our record was appended and what it says was done. */
  | { readonly type: 'moved'; readonly at: Position }
  /** The cause is on record already: done again if it was the newest, else left alone. */
  | { readonly type: 'repeated'; readonly at: Position }
  /** The move does not exist or must not be made; nothing was written to the chain. */
  | {
      readonly type: 'refused'
      readonly refuse: string
      readonly detail: string
      readonly at: Position | undefined
    }

const attemptsMax = 8
/** Marks the second record of one cause, such as the denial that follows a full queue. */
const followUp = '!'

/**
 * The one way a job changes: look, propose, write it down, and only then act on it. The caller acknowledges the
 * cause after this returns, and leaves it alone if this throws.
 */
export async function step(
  io: Io,
  cause: Cause,
  start: Position | undefined,
  propose: (last: Position | undefined) => Proposal | Promise<Proposal>,
): Promise<Step> {
  let last = start
  // What is remembered may be behind: good enough to append on, because the compare-and-set finds out, but nothing is
  // refused or done again because of it.
  let fresh = false
  let instead: Proposal | undefined
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const known = last?.record.data.causes.includes(cause.id) === true
    const proposal = known ? undefined : (instead ?? (await propose(last)))
    const record =
      proposal === undefined || 'refuse' in proposal ? undefined : recordOf(io, cause, last, proposal)
    const leaveByMs = record === undefined ? undefined : mayLeaveBy(io, record)
    if (leaveByMs === 'unknown') {
      // Stopped since it was proposed, or nobody knows: propose again by a new reading.
      await io.control.read()
      continue
    }
    const appended =
      record === undefined ? undefined : await io.chain.append(record, last?.sequence ?? 0, leaveByMs)
    if (record !== undefined && appended === 'too-large') {
      instead = insteadOf(io, record)
      continue
    }
    if (record !== undefined && typeof appended === 'object') {
      io.metrics.moved(record.data.event, record.data.state.from)
      return { type: 'moved', at: await act(io, cause, appended) }
    }
    if (fresh && known && last !== undefined) return repeat(io, cause, last)
    if (fresh && proposal !== undefined && appended === undefined) return refused(proposal, last)
    last = await io.chain.last(cause.job)
    fresh = true
    instead = undefined
  }
  throw new Error(`job ${cause.job}: still contended after ${attemptsMax} attempts`)
}

/**
 * A record has a bound, and what people, jobs and policies say in it adds up. What does not fit must not be tried for ever: a
 * person is told, anything else is a denial, and the job comes to its end.
 */
function insteadOf(io: Io, { data }: AuditRecord): Proposal {
  const detail = 'what must stand on its record is larger than a record may be'
  return data.state.from === 'PARKED' ? { refuse: 'too_large', detail } : deny(io, 'sluice.error', detail)
}

function recordOf(
  io: Io,
  cause: Cause,
  last: Position | undefined,
  event: JobEvent,
): AuditRecord | undefined {
  const before = last?.record ?? cause.opened
  if (before === undefined) return undefined
  return recordNext({ gateway: io.config.gateway, last: before, event, cause: cause.id, nowMs: io.nowMs() })
}

function refused(proposal: Proposal, at: Position | undefined): Step {
  if ('refuse' in proposal)
    return { type: 'refused', refuse: proposal.refuse, detail: proposal.detail ?? '', at }
  return { type: 'refused', refuse: 'no-such-move', detail: proposal.event, at }
}

/**
 * For whoever comes upon a job without a cause of its own: the one who wrote the newest record may have died before acting on
 * it, and the cause be acknowledged by another who was refused. Does what the record says, unless that is done.
 */
export async function carryOn(io: Io, at: Position): Promise<void> {
  if (await removeLeftCopies(io, at)) return
  const job = at.record.data.job_id
  await act(io, { job, id: shortHash(`carried-on:${at.record.id}`), around: {} }, at)
}

/** A known cause: we, or another gateway, wrote it down and may have died before acting on it. */
async function repeat(io: Io, cause: Cause, last: Position): Promise<Step> {
  const newest = last.record.data.causes.at(-1)
  if (newest === cause.id || newest === cause.id + followUp)
    return { type: 'repeated', at: await act(io, cause, last) }
  await removeLeftCopies(io, last)
  return { type: 'repeated', at: last }
}

/** Does what the record says; when the world has no room for it, the job takes the next move instead. */
async function act(io: Io, cause: Cause, at: Position): Promise<Position> {
  const instead = await perform(io, at, cause.around)
  if (instead === undefined) return at
  const id = cause.id + followUp
  if (at.record.data.causes.at(-1) === id)
    throw new Error(`job ${cause.job}: a second record asks for a third`)
  const next = await step(io, { ...cause, id }, at, (last) =>
    last?.sequence === at.sequence ? instead : { refuse: 'moved-on' },
  )
  return next.at ?? at
}
