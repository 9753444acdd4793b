import { levelOf } from '../../audit/approval.ts'
import type { State } from '../../audit/lifecycle.ts'
import type { Approval, Resolution } from '../../audit/event.ts'
import { decodeRecord, type AuditRecord } from '../../audit/record.ts'
import type { Constraints } from '../../policy/constraints.ts'
import type { JobId } from '../../policy/job-id.ts'
import { parseJob, type Job } from '../../policy/job.ts'
import type { ApprovalLevel } from '../../policy/rule.ts'
import type { AuditIndex } from './index-audit.ts'
import type { Io } from '../io.ts'
import { newestRecord, readMany } from './index-rows.ts'
import { parkedFrom } from './parked.ts'
import { auditSubject, pendingSubject } from '../subjects.ts'

/** What an approver decides about: what would run, who asks, why it is asked. */
export type ApprovalItem = {
  readonly job_id: string
  readonly job: {
    readonly id: string
    readonly topic: string
    readonly tenant: string
    readonly actor: string
    /** The job's own, as it would run; null when the job has none or waits no longer. */
    readonly payload: unknown
    readonly risk_tags?: readonly string[]
    readonly labels?: Readonly<Record<string, string>>
    readonly capability?: string
    readonly requires?: readonly string[]
  }
  readonly trace_id: string
  readonly state: State
  readonly reason: string
  readonly rule_id: string
  readonly risk_tier?: string
  readonly constraints: Constraints | null
  readonly job_hash: string
  readonly policy_snapshot: string
  readonly requested_at: string
  readonly expires_at: string
  /** What an approval takes: from `high` on a note, at `critical` also both hashes and two persons. */
  readonly level: ApprovalLevel
  /** Before that an approval is too early. */
  readonly approve_from?: string
  /** Whose word counts, and how many of them it takes, for each rule that asks. */
  readonly demands: Approval['demands']
  readonly votes: Approval['votes']
  /** Who said last to be on it; anybody may decide all the same. */
  readonly claim?: NonNullable<Approval['claim']>
  readonly resolution?: Resolution
  /** When the wait ended; absent while it lasts. */
  readonly resolved_at?: string
}

export type ApprovalPage = { readonly items: readonly ApprovalItem[]; readonly next_cursor: string | null }

/** Those that wait come first, oldest first; resolved ones, if asked for, after them, newest first. */
export type ApprovalsAsked = {
  readonly includeResolved: boolean
  readonly limit: number
  readonly cursor?: Cursor | undefined
  /** Whose jobs; those of others do not exist for who asks. */
  readonly tenants: 'all' | readonly string[]
}

/** Where the next page begins: at a sequence of APPROVALS, or at a place in the index. */
export type Cursor = { readonly part: 'pending' | 'resolved'; readonly at: number }

export const approvalsLimitMax = 500
/** Parked bodies may have 256 KiB each; a page with more than this in it ends early. */
const pageBytesMax = 4 * 1024 * 1024
/** A page in which so many were looked at, most of them other tenants', ends early. */
const resolvedLookedMax = 2_000

/** `p12` or `r34`; undefined for anything else. */
export function parseCursor(text: string): Cursor | undefined {
  const [, part, digits] = /^([pr])(\d{1,15})$/.exec(text) ?? []
  return part === undefined ? undefined : { part: part === 'p' ? 'pending' : 'resolved', at: Number(digits) }
}

/** One page of the list. */
export async function listApprovals(io: Io, index: AuditIndex, asked: ApprovalsAsked): Promise<ApprovalPage> {
  const items: ApprovalItem[] = []
  if (asked.cursor?.part !== 'resolved') {
    const page = await pendingPage(io, asked)
    items.push(...page.items)
    if (page.next !== undefined) return { items, next_cursor: `p${page.next}` }
  }
  if (!asked.includeResolved) return { items, next_cursor: null }
  const before = asked.cursor?.part === 'resolved' ? asked.cursor.at : Number.MAX_SAFE_INTEGER
  let next = before
  let looked = 0
  do {
    const page = index.resolved(next, asked.limit - items.length)
    for (const { body, subject } of await readMany(io.bus, 'AUDIT', page.values)) {
      const record = decodeRecord(body)
      const wanted = asked.tenants === 'all' || asked.tenants.includes(record.data.tenant)
      if (wanted && subject === auditSubject(record.data.job_id)) items.push(resolvedItem(record))
    }
    next = page.next
    looked += page.values.length
  } while (items.length < asked.limit && next > 0 && looked < resolvedLookedMax)
  return { items, next_cursor: next === 0 ? null : `r${next}` }
}

/** One approval, whether it waits or not; undefined if the job never asked for one. */
export async function approvalOf(io: Io, job: JobId): Promise<ApprovalItem | undefined> {
  const record = await newestRecord(io.bus, job)
  if (record === undefined || record.data.approval === undefined) return undefined
  if (record.data.state.to !== 'PARKED') return resolvedItem(record)
  const copy = await io.bus.last('APPROVALS', pendingSubject(job))
  return itemOf(record, copy?.body)
}

/** Walks the parked copies themselves: they are what would run, and there is nothing to keep in step. */
async function pendingPage(
  io: Io,
  { cursor, limit, tenants }: ApprovalsAsked,
): Promise<{ items: ApprovalItem[]; next: number | undefined }> {
  const most = { copies: limit, bytes: pageBytesMax }
  const { copies, next } = await parkedFrom(io.bus, cursor?.at ?? 1, most, tenants)
  const records = await Promise.all(copies.map(({ job }) => newestRecord(io.bus, job)))
  const items = copies.flatMap(({ body }, position) => {
    const record = records[position]
    // A copy that stands a moment longer than its job waits is on its way out.
    return record?.data.state.to === 'PARKED' ? [itemOf(record, body)] : []
  })
  return { items, next }
}

function resolvedItem(record: AuditRecord): ApprovalItem {
  const { resolution } = record.data
  return { ...itemOf(record, undefined), ...(resolution && { resolution }), resolved_at: record.time }
}

function itemOf(record: AuditRecord, body: Uint8Array | undefined): ApprovalItem {
  const { data } = record
  const { decision, approval } = data
  const parsed =
    body === undefined ? undefined : parseJob({ tenant: data.tenant, agent: data.actor.id }, data.topic, body)
  return {
    job_id: data.job_id,
    job: {
      id: data.job_id,
      topic: data.topic,
      tenant: data.tenant,
      actor: data.actor.id,
      ...(parsed?.ok === true ? shown(parsed.job) : { payload: null }),
    },
    trace_id: data.trace_id,
    state: data.state.to,
    reason: decision.reason,
    rule_id: decision.rule_id,
    ...(decision.risk_tier === undefined ? {} : { risk_tier: decision.risk_tier }),
    constraints: decision.constraints,
    job_hash: data.job_hash,
    policy_snapshot: decision.policy_snapshot,
    requested_at: approval?.requested_at ?? record.time,
    expires_at: approval?.expires_at ?? record.time,
    level: approval === undefined ? 'normal' : levelOf(approval),
    ...(approval?.approve_from === undefined ? {} : { approve_from: approval.approve_from }),
    demands: approval?.demands ?? [],
    votes: approval?.votes ?? [],
    ...(approval?.claim === undefined ? {} : { claim: approval.claim }),
  }
}

function shown(
  job: Job,
): Pick<ApprovalItem['job'], 'payload' | 'risk_tags' | 'labels' | 'capability' | 'requires'> {
  return {
    payload: job.payload ?? null,
    risk_tags: job.riskTags,
    labels: Object.fromEntries(job.labels),
    ...(job.capability === undefined ? {} : { capability: job.capability }),
    ...(job.requires === undefined ? {} : { requires: job.requires }),
  }
}
