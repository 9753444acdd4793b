import type { Decision } from '../policy/evaluate.ts'
import type { JobId } from '../policy/job-id.ts'
import type { AuditRecord } from './record.ts'
import type { State } from './lifecycle.ts'

/** What a caller should do now; written for a model as much as for a person. */
export type Next = 'wait' | 'retry' | 'change_request' | 'ask_human' | 'stop'

/** The answer to a submission: the same object on NATS, on `decision.>` and on HTTP. */
export type Answer = {
  readonly job_id: string
  readonly trace_id: string
  readonly state: State
  readonly job_hash: string
  readonly decision: Decision
  readonly retry_after_ms?: number
  readonly approval?: { readonly expires_at: string }
  /** The job that this one joined: the same request, which waits for a person already. */
  readonly joined?: JobId
  /** On the answer to a submission that joined another: that one's answer, and what this one is called. */
  readonly duplicate?: true
  readonly joined_as?: JobId
  readonly next: Next
}

/** The job as its newest record tells it, at `nowMs`. */
export function answerFrom(record: AuditRecord, nowMs: number): Answer {
  const { data } = record
  const state = data.state.to
  return {
    job_id: data.job_id,
    trace_id: data.trace_id,
    state,
    job_hash: data.job_hash,
    decision: data.decision,
    ...((state === 'THROTTLED' || state === 'DENIED') && data.throttle !== undefined
      ? { retry_after_ms: Math.max(0, Date.parse(data.throttle.not_before) - nowMs) }
      : {}),
    ...(state === 'PARKED' && data.approval !== undefined
      ? { approval: { expires_at: data.approval.expires_at } }
      : {}),
    ...(data.joined === undefined ? {} : { joined: data.joined }),
    next: nextStep(state, data.decision),
  }
}

function nextStep(state: State, decision: Decision): Next {
  switch (state) {
    case 'RECEIVED':
    case 'THROTTLED':
    case 'PARKED':
    case 'DISPATCHED':
    case 'JOINED':
      return 'wait'
    case 'DENIED':
      return afterDenial(decision)
    case 'QUARANTINED':
      return 'ask_human'
    case 'EXPIRED':
    case 'FAILED':
    case 'TIMED_OUT':
      return 'retry'
    case 'SUCCEEDED':
    case 'REJECTED':
    case 'DROPPED':
    case 'CANCELLED':
      return 'stop'
  }
}

/** Built-in refusals say what would help; a rule's own denial is final. */
function afterDenial({ type, rule_id: ruleId }: Decision): Next {
  if (type === 'THROTTLE') return 'retry'
  if (
    [
      'sluice.invalid-job',
      'sluice.identity-mismatch',
      'sluice.idempotency-conflict',
      'sluice.rejected-before',
    ].includes(ruleId)
  )
    return 'change_request'
  if (['sluice.timeout', 'sluice.error', 'sluice.queue-full', 'sluice.stopped'].includes(ruleId))
    return 'retry'
  if (['sluice.no-match', 'sluice.no-pool'].includes(ruleId)) return 'ask_human'
  return 'stop'
}
