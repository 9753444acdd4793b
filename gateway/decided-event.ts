import type { JobEvent } from '../audit/event.ts'
import type { RecordData } from '../audit/record.ts'
import type { Decision } from '../policy/evaluate.ts'

/** What was decided before: slots that a limit has granted already, and an approval that only waits for room. */
export type Before = Pick<RecordData, 'facts' | 'resolution' | 'approval'> & {
  /** The decision that was in force. */
  readonly decision?: Decision
}

/** What a decision can make of a job. */
export type DecidedEvent = Extract<
  JobEvent,
  { readonly event: 'allowed' | 'approved' | 'parked' | 'throttled' | 'denied' }
>
