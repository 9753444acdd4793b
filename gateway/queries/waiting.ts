import type { AuditRecord } from '../../audit/record.ts'
import type { JobId } from '../../policy/job-id.ts'
import { waitingItem, type ApprovalItem } from './approval-item.ts'
import type { ApprovalsAsked, Tenants } from './approvals-asked.ts'
import { newestPosition } from './index-rows.ts'
import type { Io } from '../io.ts'
import { parkedFrom, type ParkedCopy } from './parked.ts'
import type { Tail } from './index-tail.ts'

/** What waits for a person, page by page. */
export type Waiting = {
  page(asked: ApprovalsAsked): Promise<{ items: ApprovalItem[]; next: number | undefined }>
}

/** Parked bodies may have 256 KiB each; a page with more than this in it ends early. */
const pageBytesMax = 4 * 1024 * 1024
/** A page for which so many were looked at ends early, however few of them were wanted. */
const lookedMax = 1_000
/** How long a page waits for the index; without it every copy and record is read again. */
const indexWaitMs = 25
const rememberedMax = 2_000
const rememberedBytesMax = 16 * 1024 * 1024

/** A copy and the newest record of its job. */
type Found = {
  readonly job: JobId
  readonly sequence: number
  readonly bytes: number
  readonly newest: number
  readonly record: AuditRecord
  readonly item: ApprovalItem
}

/**
 * Walks the parked copies themselves: they are what would run. What was the first copy at or behind a sequence is remembered: nothing
 * is ever stored in between later on, and a copy goes only after a newer record of its job. So what is asked each time is only what
 * AUDIT holds by now; where its index does not know, or says that the job has moved on, copy and record are read again.
 */
export function openWaiting(io: Io, tail: Tail): Waiting {
  const memory = new Map<string, Found>()
  let bytes = 0
  const forget = (key: string): void => {
    bytes -= memory.get(key)?.bytes ?? 0
    memory.delete(key)
  }
  const remember = (key: string, found: Found): void => {
    forget(key)
    memory.set(key, found)
    bytes += found.bytes
    for (const oldest of memory.keys()) {
      if (memory.size <= rememberedMax && bytes <= rememberedBytesMax) return
      forget(oldest)
    }
  }
  /** Reads copies and their records; those whose job waits no longer are on their way out. */
  const read = async (
    asked: ApprovalsAsked,
    from: number,
    copies: number,
    bytesMax: number,
  ): Promise<Read> => {
    const { tenants } = asked
    const parked = await parkedFrom(io.bus, from, { copies, bytes: bytesMax }, tenants)
    const newest = await Promise.all(parked.copies.map(({ job }) => newestPosition(io.bus, job)))
    const found: Found[] = []
    let behind = from
    for (const [index, copy] of parked.copies.entries()) {
      const position = newest[index]
      const key = keyOf(tenants, behind)
      behind = copy.sequence + 1
      forget(key)
      if (position?.record.data.state.to !== 'PARKED') continue
      const one = foundOf(io, copy, position)
      found.push(one)
      // A copy of an earlier wait is about to be replaced: a job that is parked again has another time to expire.
      if (copy.expires === position.record.data.approval?.expires_at) remember(key, one)
    }
    return { found, looked: parked.copies.length, next: parked.next }
  }
  return {
    page: async (asked) => {
      const isKnown = tail.caughtUp() && (await tail.reach(indexWaitMs))
      const index = tail.index()
      const stands = ({ job, newest }: Found): boolean => isKnown && index.job(job, 1).values[0] === newest
      const items: ApprovalItem[] = []
      let next: number | undefined = asked.cursor?.at ?? 1
      let pageBytes = 0
      let looked = 0
      let atOnce = 1
      const take = ({ bytes: more, record, item }: Found): void => {
        if (asked.wanted?.(record.data) === false) return
        items.push(item)
        pageBytes += more
      }
      while (
        next !== undefined &&
        items.length < asked.limit &&
        pageBytes < pageBytesMax &&
        looked < lookedMax
      ) {
        const key = keyOf(asked.tenants, next)
        const known = memory.get(key)
        if (known !== undefined && stands(known)) {
          // Kept longest that was asked for last.
          memory.delete(key)
          memory.set(key, known)
          take(known)
          looked++
          next = known.sequence + 1
          continue
        }
        // Where one has gone those behind it are mostly known; the more have gone, the fewer are.
        const room = asked.limit - items.length
        const copies = known === undefined ? room : Math.min(room, (atOnce *= 2))
        const more = await read(asked, next, copies, pageBytesMax - pageBytes)
        for (const one of more.found) take(one)
        looked += more.looked
        next = more.next
        // The end, or the walk ended early, as where most copies are other tenants': so does the page.
        if (more.looked < copies) break
      }
      return { items, next }
    },
  }
}

type Read = { readonly found: readonly Found[]; readonly looked: number; readonly next: number | undefined }

function foundOf(
  io: Io,
  copy: ParkedCopy,
  { record, sequence }: { record: AuditRecord; sequence: number },
): Found {
  return {
    job: copy.job,
    sequence: copy.sequence,
    bytes: copy.body.length,
    newest: sequence,
    record,
    item: waitingItem(io.topology, record, copy.body),
  }
}

/** What one caller was shown is no answer for another. */
const keyOf = (tenants: Tenants, from: number): string =>
  `${from} ${tenants === 'all' ? '' : JSON.stringify(tenants)}`
