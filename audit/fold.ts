import type { Constraints } from '../policy/constraints.ts'
import type { Decision } from '../policy/evaluate.ts'
import type { JobId } from '../policy/job-id.ts'
import { answerFrom, type Answer } from './answer.ts'
import { advance, type EventName, type State } from './lifecycle.ts'
import type { Actor, Approval, Resolution, Result, Throttle } from './event.ts'
import type { AuditRecord, RecordData } from './record.ts'

/** A record and its sequence in AUDIT. */
export type Filed = { readonly seq: number; readonly record: AuditRecord }

/** An act that was refused, as it stands beside the job's chain. */
export type Refused = {
  readonly seq: number
  readonly time: string
  readonly refuse: string
  readonly detail: string
  readonly principal: string
}

/** One record as a reader of the timeline sees it: what it changed, and on what grounds. */
export type TimelineEvent = {
  readonly seq: number
  readonly id: string
  readonly type: string
  readonly time: string
  readonly event: EventName
  readonly state: { readonly from: State; readonly to: State }
  readonly actor: Actor
  /** The decision in force after this record; the four fields below repeat it flat. */
  readonly decision: Decision
  readonly rule_id: string
  readonly reason: string
  readonly policy_snapshot: string
  readonly constraints: Constraints | null
  readonly job_hash: string
  readonly attempt?: number
  readonly attempts_max?: number
  readonly pool?: string
  readonly deadline?: string
  readonly approval?: Approval
  readonly approver?: string
  readonly resolution?: Resolution
  readonly joined?: JobId
  readonly throttle?: Throttle
  readonly result?: Result
  readonly findings?: Result['findings']
  readonly limit?: string
  readonly by?: string
  readonly note?: string
  readonly terminal?: RecordData['terminal']
}

/** A job's whole life in order. `complete` means that it ended and that no record is missing or out of place. */
export type JobTimeline = {
  readonly job_id: string
  readonly state: State
  readonly topic: string
  readonly tenant: string
  readonly actor: Actor
  readonly complete: boolean
  readonly events: readonly TimelineEvent[]
  readonly refused: readonly Refused[]
  /** What does not fit together; absent when everything does. */
  readonly problems?: readonly string[]
}

/** The timeline of one job from its records, in any order; undefined if there are none. */
export function timeline(filed: readonly Filed[], refused: readonly Refused[] = []): JobTimeline | undefined {
  const records = filed.toSorted((a, b) => a.seq - b.seq)
  const newest = records.at(-1)?.record.data
  if (newest === undefined) return undefined
  const problems = chainProblems(records)
  return {
    job_id: newest.job_id,
    state: newest.state.to,
    topic: newest.topic,
    tenant: newest.tenant,
    actor: newest.actor,
    complete: problems.length === 0 && newest.terminal !== undefined,
    events: records.map((entry, index) => eventOf(entry, records[index - 1]?.record.data)),
    refused: refused.toSorted((a, b) => a.seq - b.seq),
    ...(problems.length === 0 ? {} : { problems }),
  }
}

/** Walks the life cycle again beside what the records say about it: a gap or a move that does not exist shows here. */
function chainProblems(records: readonly Filed[]): string[] {
  const problems: string[] = []
  let state: State = 'RECEIVED'
  for (const [index, { record }] of records.entries()) {
    const { data } = record
    if (data.job_seq !== index) problems.push(`record ${record.id} stands where number ${index} should`)
    if (data.state.from !== state || advance(state, data.event) !== data.state.to)
      problems.push(`record ${record.id}: no move from ${state} by ${data.event} to ${data.state.to}`)
    if (data.terminal !== undefined && data.terminal.events !== records.length)
      problems.push(`the chain ended after ${data.terminal.events} records and has ${records.length}`)
    state = data.state.to
  }
  return problems
}

/** Later records carry dispatch, approval and resolution along; an event shows them only where they came about. */
function eventOf({ seq, record }: Filed, before: RecordData | undefined): TimelineEvent {
  const { data } = record
  const { decision, dispatch, result } = data
  const vote = data.event === 'voted' ? data.approval?.votes.at(-1) : undefined
  const resolution = isNew(data.resolution, before?.resolution) ? data.resolution : vote
  return {
    seq,
    id: record.id,
    type: record.type,
    time: record.time,
    event: data.event,
    state: data.state,
    actor: data.actor,
    decision,
    rule_id: decision.rule_id,
    reason: decision.reason,
    policy_snapshot: decision.policy_snapshot,
    constraints: decision.constraints,
    job_hash: data.job_hash,
    ...(dispatch === undefined ? {} : { attempt: dispatch.attempt, attempts_max: dispatch.attempts_max }),
    ...(isNew(dispatch, before?.dispatch) && dispatch !== undefined
      ? { pool: dispatch.pool, deadline: dispatch.deadline }
      : {}),
    ...(isNew(data.approval, before?.approval) ? { approval: data.approval } : {}),
    ...(resolution === undefined ? {} : { approver: resolution.by, resolution }),
    ...(data.joined === undefined ? {} : { joined: data.joined }),
    ...(data.throttle === undefined ? {} : { throttle: data.throttle }),
    ...(result === undefined ? {} : { result, findings: result.findings }),
    ...(data.limit === undefined ? {} : { limit: data.limit }),
    ...(data.by === undefined ? {} : { by: data.by }),
    ...(data.note === undefined ? {} : { note: data.note }),
    ...(data.terminal === undefined ? {} : { terminal: data.terminal }),
  }
}

function isNew<T>(value: T | undefined, before: T | undefined): value is T {
  return value !== undefined && JSON.stringify(value) !== JSON.stringify(before)
}

/** A job as its newest record tells it: the answer to its submission, and how far its work has come. */
export type JobFacts = Answer & {
  readonly topic: string
  readonly tenant: string
  readonly actor: string
  readonly received_at: string
  readonly updated_at: string
  /** How many attempts were dispatched; 0 if none was. */
  readonly attempts: number
  readonly constraints: Constraints | null
  readonly deadline?: string
  readonly resolution?: Resolution
  readonly limit?: string
  /** Who cancelled it, and why. */
  readonly by?: string
  readonly note?: string
}

/** Everything about a job that its newest record knows, at `nowMs`. */
export function jobFacts(record: AuditRecord, nowMs: number): JobFacts {
  const { data } = record
  const running = data.state.to === 'DISPATCHED' ? data.dispatch : undefined
  return {
    ...answerFrom(record, nowMs),
    topic: data.topic,
    tenant: data.tenant,
    actor: data.actor.id,
    received_at: data.received_at,
    updated_at: record.time,
    attempts: data.dispatch?.attempt ?? 0,
    constraints: data.decision.constraints,
    ...(running === undefined ? {} : { deadline: running.deadline }),
    ...(data.resolution === undefined ? {} : { resolution: data.resolution }),
    ...(data.limit === undefined ? {} : { limit: data.limit }),
    ...(data.by === undefined ? {} : { by: data.by }),
    ...(data.note === undefined ? {} : { note: data.note }),
  }
}
