import { dueEvent, stillDue } from '../../audit/approval.ts'
import type { RecordData } from '../../audit/record.ts'
import type { Position } from '../chain.ts'
import { notYet, whileStopped } from './expiry.ts'
import type { Io } from '../io.ts'
import type { Proposal } from '../step.ts'
import { thawedMs } from '../stops/stopped.ts'

/**
 * Time passes for a parked job: somebody is reminded, somebody else is told, and in the end it expires. While a stop holds the job
 * nothing of that happens, and the times move by as long as it does.
 */
export async function approvalDue(io: Io, _due: unknown, { record: { data } }: Position): Promise<Proposal> {
  const { approval } = data
  if (data.state.to !== 'PARKED' || approval === undefined) return { refuse: 'moved-on' }
  const nowMs = io.nowMs()
  const frozen = await whileStopped(io, data)
  if (frozen !== undefined) return frozen
  const dues = stillDue(approval)
  const atMs = (at: string): number => thawedMs(io, data, approval.requested_at, at)
  const last = dues.at(-1)
  // Whoever comes back after the end need not remind anybody of it.
  const due = last !== undefined && atMs(last.at) <= nowMs ? last : dues[0]
  if (due === undefined) throw new Error('an approval without an end')
  return atMs(due.at) > nowMs ? notYet(atMs(due.at), nowMs) : dueEvent(approval, due, nowMs)
}

/** What a waiting copy is the timer of right now: each is a cause of its own, so that none is taken for another. */
export function dueName({ state, approval }: RecordData): string {
  const due = state.to === 'PARKED' && approval !== undefined ? stillDue(approval)[0] : undefined
  return due === undefined ? 'over' : `${due.event}:${due.at}`
}

/** When a parked job must be looked at next. */
export function nextDueMs(io: Io, data: RecordData): number {
  const { approval } = data
  const due = approval === undefined ? undefined : stillDue(approval)[0]
  return approval === undefined || due === undefined
    ? io.nowMs()
    : thawedMs(io, data, approval.requested_at, due.at)
}
