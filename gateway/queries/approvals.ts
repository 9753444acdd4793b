import { decodeRecord } from '../../audit/record.ts'
import type { JobId } from '../../policy/job-id.ts'
import type { ApprovalsAsked } from './approvals-asked.ts'
import { resolvedItem, waitingItem, type ApprovalItem } from './approval-item.ts'
import type { AuditIndex } from './index-audit.ts'
import type { Io } from '../io.ts'
import { newestRecord, readMany } from './index-rows.ts'
import { auditSubject, pendingSubject } from '../subjects.ts'
import type { Waiting } from './waiting.ts'

export type ApprovalPage = { readonly items: readonly ApprovalItem[]; readonly next_cursor: string | null }

export const approvalsLimitMax = 500
/** A page in which so many were looked at, most of them other tenants', ends early. */
const resolvedLookedMax = 2_000

/** One page of the list. */
export async function listApprovals(
  io: Io,
  index: AuditIndex,
  waiting: Waiting,
  asked: ApprovalsAsked,
): Promise<ApprovalPage> {
  const items: ApprovalItem[] = []
  if (asked.cursor?.part !== 'resolved') {
    const page = await waiting.page(asked)
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
  return waitingItem(io.topology, record, copy?.body)
}
