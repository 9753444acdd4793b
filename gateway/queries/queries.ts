import { jobFacts, type JobFacts } from '../../audit/fold.ts'
import { isTerminal } from '../../audit/lifecycle.ts'
import type { Result } from '../../audit/event.ts'
import type { AuditRecord } from '../../audit/record.ts'
import type { JobId } from '../../policy/job-id.ts'
import type { Position } from '../chain.ts'
import { newestRecord } from './index-rows.ts'
import { openTail, type Tail } from './index-tail.ts'
import type { Io } from '../io.ts'
import { isReleased } from '../output.ts'
import { readableOutput, type ReadableOutput } from './output-view.ts'
import type { ApprovalItem } from './approval-item.ts'
import { approvalOf, listApprovals, type ApprovalPage } from './approvals.ts'
import type { ApprovalsAsked } from './approvals-asked.ts'
import { traceOf, type TraceView } from './trace.ts'
import { outputSubject } from '../subjects.ts'
import { openWaiting } from './waiting.ts'

/** A job, and its released output once there is one. */
export type JobView = JobFacts & { readonly result: ResultView | null }
export type ResultView = Omit<Result, 'output_hash' | 'detectors'> & ReadableOutput

/** Thrown when the index is not as far as the question needs; asking again later helps. */
export class NotCaughtUp extends Error {
  constructor(behind: number) {
    super(`the index is being made: ${behind} records to go`)
    this.name = 'NotCaughtUp'
  }
}

/** What can be asked about the past. Nothing here is trusted for deciding: it reads, and what it keeps can be thrown away. */
export type Queries = {
  /**
   * With `waitMs`, the answer may take that long and comes when the job is at rest. With `actor`, the job of anybody else
   * is one that never was, and takes as long.
   */
  job(id: JobId, waitMs?: number, actor?: string): Promise<JobView | undefined>
  approval(id: JobId): Promise<ApprovalItem | undefined>
  approvals(asked: ApprovalsAsked): Promise<ApprovalPage>
  /** One tenant's part of a trace: that of the first of these tenants that has one. */
  trace(id: string, tenants: readonly string[]): Promise<TraceView | undefined>
  /** A record that this gateway wrote itself: it need not be read again. */
  appended(at: Position): void
  /** False until the index was complete for the first time. */
  caughtUp(): boolean
  close(): void
}

const indexWaitMs = 15_000

/** Opens the index over AUDIT and answers from it, from the jobs' own chains and from APPROVALS. */
export function openQueries(io: Io): Queries {
  const tail = openTail(io)
  const waiting = openWaiting(io, tail)
  const complete = async (): Promise<void> => {
    if (!(await tail.reach(indexWaitMs))) throw new NotCaughtUp(tail.behind())
  }
  return {
    job: (id, waitMs = 0, actor) => job(io, tail, id, waitMs, actor),
    approval: (id) => approvalOf(io, id),
    approvals: async (asked) => {
      if (asked.includeResolved) await complete()
      return listApprovals(io, tail.index(), waiting, asked)
    },
    trace: async (id, tenants) => {
      await complete()
      return traceOf(io, tail.index(), id, tenants)
    },
    appended: (at) => tail.appended(at),
    caughtUp: () => tail.caughtUp(),
    close: () => tail.close(),
  }
}

async function job(
  io: Io,
  tail: Tail,
  id: JobId,
  waitMs: number,
  actor: string | undefined,
): Promise<JobView | undefined> {
  const deadlineMs = performance.now() + waitMs
  for (;;) {
    const remainingMs = deadlineMs - performance.now()
    // Listening begins before looking, so that what happens in between is not missed.
    const change = remainingMs > 0 ? tail.changed(id, remainingMs) : undefined
    const newest = await newestRecord(io.bus, id)
    const record = actor === undefined || newest?.data.actor.id === actor ? newest : undefined
    if (change === undefined || (record !== undefined && isAtRest(record)))
      return record === undefined ? undefined : view(io, record)
    await change
  }
}

const isAtRest = ({ data }: AuditRecord): boolean =>
  isTerminal(data.state.to) || data.state.to === 'QUARANTINED'

async function view(io: Io, record: AuditRecord): Promise<JobView> {
  const facts = jobFacts(record, io.nowMs())
  const { result } = record.data
  if (result === undefined) return { ...facts, result: null }
  const { output_hash: _hash, detectors: _detectors, ...shown } = result
  return { ...facts, result: { ...shown, ...(await released(io, record)) } }
}

const releaseLooksMax = 20
const releaseLookEveryMs = 50
const releaseTakesMaxMs = 5_000

/** The record comes first and the release after it, so a very fresh one may have no output for a moment. */
async function released(io: Io, record: AuditRecord): Promise<ReadableOutput> {
  const { data } = record
  if (!isReleased(data)) return { body: null, encoding: null }
  const fresh = io.nowMs() - Date.parse(record.time) < releaseTakesMaxMs
  for (let looks = 0; ; looks++) {
    const output = await io.bus.last('OUTPUT', outputSubject(data.actor.id, data.job_id))
    if (output !== undefined) return readableOutput(output.body)
    if (!fresh || looks >= releaseLooksMax) return { body: null, encoding: null }
    await new Promise((resolve) => setTimeout(resolve, releaseLookEveryMs))
  }
}
