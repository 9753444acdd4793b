import type { Opened } from '../audit/event.ts'
import type { JobId } from '../policy/job-id.ts'
import type { WaitingCopy } from './copies.ts'
import type { Origin } from './headers.ts'

/** Why a job moves: a stored message, or a due time. */
export type Cause = {
  readonly job: JobId
  /** Short hash of the stored message (or due time) that makes us act. */
  readonly id: string
  /** What a job is when there is no record yet; absent for causes that need an existing job. */
  readonly opened?: Opened
  /** What `perform` needs from around the cause: the job's bytes, whom to answer. */
  readonly around: Around
}

/** What a cause brings along: the job's bytes while they stand nowhere else, the worker's output, whom to answer. */
export type Around = {
  readonly body?: Uint8Array
  /** A worker's output as it came, and what the scan lets through. */
  readonly output?: { readonly raw: Uint8Array; readonly released: Uint8Array }
  /** The waiting copy, when the cause is that copy itself. */
  readonly copy?: WaitingCopy
  /** The stored submission, for whoever waits for its answer. */
  readonly origin?: Origin
}
