import type { Decision } from '../policy/evaluate.ts'
import type { JobId } from '../policy/job-id.ts'
import type { OutputTerms } from '../policy/rule.ts'
import { canonicalText, isInOrder } from './canonical-text.ts'
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
/** Kept free while a job can still grow, so that what ends it always has room: limits, a note, findings, causes of retries. */
const endBytes = 8_192

/** How large this record may be. */
export function bytesMaxOf({ data: { state, terminal } }: AuditRecord): number {
  const ends = terminal !== undefined || state.from === 'DISPATCHED' || state.from === 'QUARANTINED'
  return ends ? recordBytesMax : recordBytesMax - endBytes
}

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
  const terminal = isTerminal(to) ? terminalOf(to, job_seq, opened, nowMs) : undefined
  const causes = before === undefined ? [next.cause] : [...before.causes, next.cause]
  return {
    data: assembled(event, before ?? opened, { causes, decision, job_seq, state: { from, to }, terminal }),
    id: `${opened.job_id}.${job_seq}`,
    source: `urn:sluice:${next.gateway}`,
    specversion: '1.0',
    subject: opened.topic,
    time: new Date(nowMs).toISOString(),
    type: eventTypes[event.event],
  }
}

/**
 * Written out key by key in the order of the bytes, what is absent too: one shape for all records, and nothing to sort, on the
 * hottest path there is. What later records need to know is carried on, so that nobody has to read twice.
 */
function assembled(
  event: JobEvent,
  before: Opened & Partial<RecordData>,
  made: Pick<RecordData, 'causes' | 'decision' | 'job_seq' | 'state'> & {
    readonly terminal: RecordData['terminal'] | undefined
  },
): RecordData {
  const told: Partial<RecordData> = event
  const grounds: Partial<Evidence> | undefined = 'evidence' in event ? event.evidence : undefined
  const data: { [Key in keyof Required<RecordData>]: RecordData[Key] | undefined } = {
    actor: before.actor,
    approval: told.approval ?? before.approval,
    by: told.by,
    causes: made.causes,
    decision: inOrder(made.decision),
    dispatch: told.dispatch ?? before.dispatch,
    evaluator: grounds?.evaluator,
    event: event.event,
    facts: grounds?.facts ?? before.facts,
    hash_key: before.hash_key,
    input: grounds?.input,
    job_deadline: before.job_deadline,
    job_hash: before.job_hash,
    job_id: before.job_id,
    job_seq: made.job_seq,
    joined: told.joined,
    limit: told.limit,
    note: told.note,
    output: told.output ?? before.output,
    payload: before.payload,
    places: told.places ?? before.places,
    policy: grounds?.policy,
    quarantine: told.quarantine,
    received_at: before.received_at,
    // Whoever is asked again starts anew: what was approved before was something else.
    resolution: event.event === 'parked' ? undefined : (told.resolution ?? before.resolution),
    result: told.result,
    state: made.state,
    tenant: before.tenant,
    terminal: made.terminal,
    throttle: told.throttle,
    topic: before.topic,
    trace_id: before.trace_id,
  }
  return data as RecordData
}

const ordered = new WeakMap<Decision, Decision>()

/**
 * The decision as it stands on record. Most jobs share theirs with others, so each is put in order once. A policy may match a
 * job with thousands of rules; the record names the first ones in byte order and stays small.
 */
function inOrder(decision: Decision): Decision {
  const known = ordered.get(decision)
  if (known !== undefined) return known
  const isFit = decision.matched.length <= matchedMax && isInOrder(decision)
  const text = isFit ? '' : canonicalText({ ...decision, matched: decision.matched.slice(0, matchedMax) })
  const made = isFit ? decision : (JSON.parse(text) as Decision)
  ordered.set(decision, made)
  ordered.set(made, made)
  return made
}

function terminalOf(status: State, job_seq: number, opened: Opened, nowMs: number): RecordData['terminal'] {
  const duration_ms = Math.max(0, nowMs - Date.parse(opened.received_at))
  return { duration_ms, events: job_seq + 1, status }
}

/** The record's bytes as they are stored: RFC 8785, one line. */
export function encodeRecord(record: AuditRecord): string {
  return canonicalText(record)
}

/** What `encodeRecord` wrote. Records come from a stream that only gateways can write, so the shape is not checked again. */
export function decodeRecord(bytes: Uint8Array): AuditRecord {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()) as AuditRecord
}
