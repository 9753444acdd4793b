import type { State } from '../audit/lifecycle.ts'
import type { DecisionType } from '../policy/evaluate.ts'
import { exitCodes } from './exit-codes.ts'

/** What a script learns from a job's state. */
export function exitCodeOf(state: State): number {
  switch (state) {
    case 'RECEIVED':
    case 'DISPATCHED':
    case 'SUCCEEDED':
      return exitCodes.ok
    case 'DENIED':
      return exitCodes.denied
    case 'PARKED':
    case 'JOINED':
      return exitCodes.pendingApproval
    case 'REJECTED':
      return exitCodes.rejected
    case 'EXPIRED':
    case 'TIMED_OUT':
      return exitCodes.expired
    case 'THROTTLED':
      return exitCodes.throttled
    case 'QUARANTINED':
      return exitCodes.quarantined
    case 'FAILED':
    case 'DROPPED':
    case 'CANCELLED':
      return exitCodes.failed
  }
}

/** What a script learns from a decision that was only asked for. */
export function exitCodeOfDecision(type: DecisionType): number {
  switch (type) {
    case 'ALLOW':
    case 'ALLOW_WITH_CONSTRAINTS':
      return exitCodes.ok
    case 'DENY':
      return exitCodes.denied
    case 'REQUIRE_APPROVAL':
      return exitCodes.pendingApproval
    case 'THROTTLE':
      return exitCodes.throttled
  }
}

/** What a script learns from a problem of the API: its stable code first, else its status. */
export function exitCodeOfProblem(status: number, code: string): number {
  if (code === 'denied' || code === 'denied_now') return exitCodes.denied
  if (code === 'note_required' || code === 'binding_required') return exitCodes.usage
  if (code === 'expired') return exitCodes.expired
  // Nothing was stored, so this must not look like a job that waits for room.
  if (code === 'rate_limited') return exitCodes.failed
  if (status === 401 || status === 403) return exitCodes.notAuthorised
  if (status === 409) return exitCodes.conflict
  if (status === 422) return exitCodes.badConfiguration
  if (status === 429) return exitCodes.throttled
  if (status === 503) return exitCodes.unreachable
  return exitCodes.failed
}
