import type { Constraints } from '../policy/constraints.ts'
import type { ApprovalRequirement, Decision } from '../policy/evaluate.ts'
import { canonicalJson } from '../policy/digest.ts'
import type { OutputTerms } from '../policy/rule.ts'
import type { JobId } from '../policy/job-id.ts'
import { advance, eventTypes, isTerminal, type EventName, type State } from './lifecycle.ts'

/**
 * One record of a job: a CloudEvents 1.0 JSON line with keys in RFC 8785 order, at most `recordBytesMax` bytes. Its bytes
 * are evidence; its newest one is the job's state. Names are explained in docs/records.md.
 */
export type AuditRecord = {
  readonly specversion: '1.0'
  readonly id: string
  readonly source: string
  readonly type: string
  readonly time: string
  readonly subject: string
  readonly data: RecordData
}

export const recordBytesMax = 32_768
const matchedMax = 64

/** Who submitted: what the server authenticated, never what the payload says. */
export type Actor = { readonly type: 'agent'; readonly id: string; readonly auth: 'nats' | 'http' }

/** What stays the same through a job's whole life. */
export type Opened = {
  readonly job_id: JobId
  readonly tenant: string
  readonly topic: string
  readonly trace_id: string
  readonly actor: Actor
  readonly job_hash: string
  /** Which of the tenant's hash keys the salt is derived from; erasing that key erases the commitment. */
  readonly hash_key: string
  readonly payload: { readonly bytes: number }
  readonly received_at: string
  readonly job_deadline?: string
}

/** Everything the evaluator read, so that a replay gives the same decision. */
export type Evidence = {
  readonly policy: { readonly source_hash: string }
  readonly evaluator: { readonly name: 'sluice'; readonly version: string }
  readonly input?: {
    readonly risk_tags: { readonly declared: readonly string[]; readonly derived: readonly string[] }
    readonly labels: Readonly<Record<string, string>>
    readonly capability?: string
    readonly requires?: readonly string[]
    /** How payload and time conditions came out; the payload itself is never recorded. */
    readonly truths?: Readonly<Record<string, boolean>>
  }
  readonly facts?: {
    readonly now_ms: number
    readonly granted: readonly string[]
    readonly fail_mode: 'closed' | 'open'
  }
}

export type Dispatch = {
  readonly pool: string
  readonly attempt: number
  readonly attempts_max: number
  readonly deadline: string
}
/** What a parked job waits for: stored with it, so that a later policy or group change does not alter what was asked. */
export type Approval = {
  readonly requirement: string
  readonly rules: readonly string[]
  readonly requested_at: string
  readonly expires_at: string
  /** How long an approval that has to wait for room may still be used. */
  readonly use_within_ms: number
  readonly exclude: readonly string[]
  readonly demands: ApprovalRequirement['demands']
  readonly votes: readonly Resolution[]
}
export type Throttle = {
  readonly rule_id: string
  readonly not_before: string
  /** False: the limit had no room within `max_wait`, so the job only waits for its own end. */
  readonly reserved: boolean
  /** The rule limits how many jobs run at once, and that many do; else a rate is what the job waits for. */
  readonly waits_for?: 'place'
}
export type Resolution = {
  readonly decision: 'approve' | 'reject'
  readonly by: string
  readonly via: 'http' | 'nats'
  readonly at: string
  readonly note: string
  /** `client`: the approver named the job hash and the snapshot; `server`: the parked record's own were taken. */
  readonly binding: 'client' | 'server'
  /** Limits that the approver added; they can only narrow. */
  readonly constraints?: Constraints
}
export type Result = {
  readonly worker: string
  readonly attempt: number
  readonly status: 'ok' | 'error'
  readonly action: 'pass' | 'redact' | 'quarantine'
  readonly findings: readonly {
    readonly detector: string
    readonly class: string
    readonly count: number
    readonly action: string
  }[]
  readonly detectors: string
  /** HMAC over the released (or withheld) output under the job's salt. */
  readonly output_hash: string
  readonly output_bytes: number
}

type Decided = {
  readonly decision: Decision
  readonly evidence: Evidence
  /** What the policy asks of the output beyond what the detectors do anyway. */
  readonly output?: OutputTerms
}

/** A fact in the past tense and the evidence it carries. */
export type JobEvent =
  | ({
      readonly event: 'allowed'
      readonly dispatch: Dispatch
      readonly places?: readonly string[]
    } & Decided)
  | ({ readonly event: 'parked'; readonly approval: Approval } & Decided)
  | ({
      readonly event: 'throttled'
      readonly throttle: Throttle
      readonly resolution?: Resolution
      readonly approval?: Approval
    } & Decided)
  | ({ readonly event: 'denied'; readonly resolution?: Resolution } & Decided)
  | ({
      readonly event: 'approved'
      readonly resolution: Resolution
      readonly approval?: Approval
      readonly dispatch: Dispatch
      readonly places?: readonly string[]
    } & Decided)
  | { readonly event: 'voted'; readonly approval: Approval }
  | { readonly event: 'rejected'; readonly resolution: Resolution; readonly approval: Approval }
  | { readonly event: 'expired'; readonly limit: string }
  | {
      readonly event: 'retried'
      readonly limit: string
      readonly dispatch: Dispatch
      readonly result?: Result
    }
  | { readonly event: 'succeeded' | 'quarantined'; readonly result: Result }
  | { readonly event: 'failed'; readonly limit: string; readonly result?: Result }
  | { readonly event: 'timed_out'; readonly limit: string }
  | { readonly event: 'cancelled'; readonly by: string; readonly note: string }

export type RecordData = Opened &
  Partial<Evidence> & {
    readonly event: EventName
    readonly job_seq: number
    readonly state: { readonly from: State; readonly to: State }
    /** Short hashes of the stored causes so far, newest last: a known one writes nothing. */
    readonly causes: readonly string[]
    /** The decision in force: the newest one that was taken. */
    readonly decision: Decision
    readonly output?: OutputTerms
    /** Rules that limit how many jobs run at once, and in which this one has a place until it ends. */
    readonly places?: readonly string[]
    readonly dispatch?: Dispatch
    readonly approval?: Approval
    readonly throttle?: Throttle
    readonly resolution?: Resolution
    readonly result?: Result
    readonly limit?: string
    readonly by?: string
    readonly note?: string
    readonly terminal?: { readonly status: State; readonly events: number; readonly duration_ms: number }
  }

export type NextRecord = {
  readonly gateway: string
  /** The record before, or what a new job is. */
  readonly last: AuditRecord | Opened
  readonly event: JobEvent
  readonly cause: string
  readonly nowMs: number
}

/** Every key of a record's data, in the order in which it is written. */
const dataKeys = [
  'actor',
  'approval',
  'by',
  'causes',
  'decision',
  'dispatch',
  'evaluator',
  'event',
  'facts',
  'hash_key',
  'input',
  'job_deadline',
  'job_hash',
  'job_id',
  'job_seq',
  'limit',
  'note',
  'output',
  'payload',
  'places',
  'policy',
  'received_at',
  'resolution',
  'result',
  'state',
  'tenant',
  'terminal',
  'throttle',
  'topic',
  'trace_id',
] as const satisfies readonly (keyof RecordData)[]

/** What later records need to know without a second read. */
const carriedKeys: ReadonlySet<keyof RecordData> = new Set<keyof RecordData>([
  'actor',
  'approval',
  'dispatch',
  'facts',
  'hash_key',
  'job_deadline',
  'job_hash',
  'job_id',
  'output',
  'payload',
  'places',
  'received_at',
  'resolution',
  'tenant',
  'topic',
  'trace_id',
])

/** The record that the event makes of the one before; undefined where the life cycle has no such move. */
export function recordNext(next: NextRecord): AuditRecord | undefined {
  const { last, event, nowMs } = next
  const before = 'data' in last ? last.data : undefined
  const opened: Opened = before ?? (last as Opened)
  const from = before?.state.to ?? 'RECEIVED'
  const to = advance(from, event.event)
  const decision = 'decision' in event ? event.decision : before?.decision
  if (to === undefined || decision === undefined) return undefined
  const job_seq = before === undefined ? 0 : before.job_seq + 1
  const made: Partial<RecordData> = {
    event: event.event,
    job_seq,
    state: { from, to },
    causes: before === undefined ? [next.cause] : [...before.causes, next.cause],
    decision: bounded(decision),
  }
  const terminal = isTerminal(to) ? terminalOf(to, job_seq, opened, nowMs) : undefined
  const data = assembled(
    [terminal === undefined ? made : { ...made, terminal }, told(event)],
    before ?? opened,
  )
  return {
    data,
    id: `${opened.job_id}.${job_seq}`,
    source: `urn:sluice:${next.gateway}`,
    specversion: '1.0',
    subject: opened.topic,
    time: new Date(nowMs).toISOString(),
    type: eventTypes[event.event],
  }
}

/** Key by key in the order of the bytes: assigning is many times cheaper than spreading and sorting, on the hottest path there is. */
function assembled(news: readonly Partial<RecordData>[], before: Partial<RecordData>): RecordData {
  const data: Record<string, unknown> = {}
  for (const key of dataKeys) {
    let value: unknown
    for (const part of news) value ??= part[key]
    if (value === undefined && carriedKeys.has(key)) value = before[key]
    if (value !== undefined) data[key] = value
  }
  return data as unknown as RecordData
}

function told(event: JobEvent): Partial<RecordData> {
  return 'evidence' in event ? { ...(event as Partial<RecordData>), ...event.evidence } : event
}

function terminalOf(status: State, job_seq: number, opened: Opened, nowMs: number): RecordData['terminal'] {
  const duration_ms = Math.max(0, nowMs - Date.parse(opened.received_at))
  return { duration_ms, events: job_seq + 1, status }
}

/** A policy may match a job with thousands of rules; the record names the first ones in byte order and stays small. */
function bounded(decision: Decision): Decision {
  if (decision.matched.length <= matchedMax) return decision
  return { ...decision, matched: decision.matched.slice(0, matchedMax) }
}

/** The record's bytes as they are stored: RFC 8785, one line. */
export function encodeRecord(record: AuditRecord): string {
  return canonicalJson(record)
}

/** What `encodeRecord` wrote. Records come from a stream that only gateways can write, so the shape is not checked again. */
export function decodeRecord(bytes: Uint8Array): AuditRecord {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()) as AuditRecord
}
