import { canonicalJson } from '../policy/digest.ts'
import type { Decision } from '../policy/evaluate.ts'
import type { JobId } from '../policy/job-id.ts'
import type { OutputTerms } from '../policy/rule.ts'
import type {
  Approval,
  Dispatch,
  Evidence,
  JobEvent,
  Opened,
  Quarantine,
  Resolution,
  Result,
  Throttle,
} from './event.ts'
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
export const matchedMax = 64

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
    /** The job whose approval this one waits for. */
    readonly joined?: JobId
    readonly throttle?: Throttle
    readonly resolution?: Resolution
    readonly result?: Result
    readonly quarantine?: Quarantine
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
  'joined',
  'limit',
  'note',
  'output',
  'payload',
  'places',
  'policy',
  'quarantine',
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
