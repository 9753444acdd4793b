/**
 * The life of a job, whole: which event leads from which state to which. An empty place means that the move does
 * not exist; an attempt at it is recorded beside the chain, never in it.
 */
export type State =
  | 'RECEIVED'
  | 'THROTTLED'
  | 'PARKED'
  | 'DISPATCHED'
  | 'QUARANTINED'
  | 'SUCCEEDED'
  | 'DENIED'
  | 'REJECTED'
  | 'EXPIRED'
  | 'DROPPED'
  | 'FAILED'
  | 'TIMED_OUT'
  | 'CANCELLED'
  | 'JOINED'

/** A fact in the past tense. */
export type EventName =
  | 'allowed'
  | 'approved'
  | 'retried'
  | 'parked'
  | 'voted'
  | 'claimed'
  | 'reminded'
  | 'escalated'
  | 'throttled'
  | 'denied'
  | 'joined'
  | 'rejected'
  | 'expired'
  | 'succeeded'
  | 'quarantined'
  | 'released'
  | 'dropped'
  | 'failed'
  | 'timed_out'
  | 'cancelled'

type Moves = Partial<Record<EventName, State>>

const moves: Record<State, Moves> = {
  RECEIVED: {
    allowed: 'DISPATCHED',
    parked: 'PARKED',
    // The same request waits for a person already: that one's answer is this one's.
    joined: 'JOINED',
    throttled: 'THROTTLED',
    denied: 'DENIED',
  },
  THROTTLED: {
    allowed: 'DISPATCHED',
    // Only a job that carries its approval leaves by this event; `advance` cannot see that, the proposer does.
    approved: 'DISPATCHED',
    parked: 'PARKED',
    joined: 'JOINED',
    throttled: 'THROTTLED',
    denied: 'DENIED',
    expired: 'EXPIRED',
    cancelled: 'CANCELLED',
  },
  PARKED: {
    approved: 'DISPATCHED',
    parked: 'PARKED',
    voted: 'PARKED',
    claimed: 'PARKED',
    reminded: 'PARKED',
    escalated: 'PARKED',
    throttled: 'THROTTLED',
    denied: 'DENIED',
    rejected: 'REJECTED',
    expired: 'EXPIRED',
    cancelled: 'CANCELLED',
  },
  DISPATCHED: {
    retried: 'DISPATCHED',
    succeeded: 'SUCCEEDED',
    quarantined: 'QUARANTINED',
    failed: 'FAILED',
    timed_out: 'TIMED_OUT',
    cancelled: 'CANCELLED',
  },
  QUARANTINED: { released: 'SUCCEEDED', dropped: 'DROPPED', expired: 'EXPIRED' },
  SUCCEEDED: {},
  DENIED: {},
  REJECTED: {},
  EXPIRED: {},
  DROPPED: {},
  FAILED: {},
  TIMED_OUT: {},
  CANCELLED: {},
  JOINED: {},
}

/** The state after the event, or undefined where the table has no such move. */
export function advance(from: State, event: EventName): State | undefined {
  return moves[from][event]
}

export const states = Object.keys(moves) as readonly State[]

const terminal: ReadonlySet<State> = new Set(states.filter((state) => Object.keys(moves[state]).length === 0))

/** True for a state with no way out. */
export function isTerminal(state: State): boolean {
  return terminal.has(state)
}

/** The CloudEvents type of each event: the move it records carries what happened on the way. */
export const eventTypes: Readonly<Record<EventName, string>> = {
  allowed: 'sluice.decision.v1',
  parked: 'sluice.decision.v1',
  throttled: 'sluice.decision.v1',
  denied: 'sluice.decision.v1',
  joined: 'sluice.decision.v1',
  approved: 'sluice.approval.resolved.v1',
  rejected: 'sluice.approval.resolved.v1',
  voted: 'sluice.approval.voted.v1',
  claimed: 'sluice.approval.claimed.v1',
  reminded: 'sluice.approval.reminded.v1',
  escalated: 'sluice.approval.escalated.v1',
  expired: 'sluice.job.expired.v1',
  retried: 'sluice.job.dispatched.v1',
  succeeded: 'sluice.job.result.v1',
  quarantined: 'sluice.job.result.v1',
  failed: 'sluice.job.result.v1',
  released: 'sluice.output.released.v1',
  dropped: 'sluice.output.dropped.v1',
  timed_out: 'sluice.job.terminal.v1',
  cancelled: 'sluice.job.terminal.v1',
}
