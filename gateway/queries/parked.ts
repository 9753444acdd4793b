import type { JobId } from '../../policy/job-id.ts'
import type { Bus } from '../bus/bus.ts'
import { BusError, storedFromApi } from '../bus/message.ts'
import { trailingJob } from '../subjects.ts'

/** A copy in APPROVALS: the bytes that would run, and when the wait that it was made for expires. */
export type ParkedCopy = {
  readonly job: JobId
  readonly sequence: number
  readonly expires: string
  readonly body: Uint8Array
}

/** `next` is the sequence to go on from; undefined when there is nothing behind. */
export type ParkedCopies = { readonly copies: readonly ParkedCopy[]; readonly next: number | undefined }

const windowMax = 128
const foreignMax = 5_000

/**
 * The copies from a sequence on, asked of the stream's leader, so that what was parked a moment ago is among them. Resolved jobs
 * leave gaps: the server finds the next copy behind a gap, and those behind it are asked for together, the more
 * of them the fewer gaps there were. Copies of other tenants are gaps, too; after many of them a page ends early.
 */
export async function parkedFrom(
  bus: Bus,
  from: number,
  most: { readonly copies: number; readonly bytes: number },
  tenants: 'all' | readonly string[] = 'all',
): Promise<ParkedCopies> {
  const copies: ParkedCopy[] = []
  if (tenants.length === 0) return { copies, next: undefined }
  const [tenant] = tenants === 'all' || tenants.length > 1 ? [] : tenants
  const subject = tenant === undefined ? 'approvals.pending.>' : `approvals.pending.${tenant}.*`
  const wanted = (job: JobId): boolean =>
    tenants === 'all' || tenants.includes(job.slice(0, job.indexOf('.')))
  let foreign = 0
  let bytes = 0
  let next = from
  let window = windowMax
  const full = (): boolean => copies.length >= most.copies || bytes >= most.bytes || foreign >= foreignMax
  while (!full()) {
    const first = await ask(bus, { seq: next, next_by_subj: subject })
    if (first === undefined) return { copies, next: undefined }
    const together = Math.min(window, most.copies - copies.length) - 1
    const behind = Array.from({ length: together }, (_, index) => first.sequence + 1 + index)
    const found = await Promise.all(behind.map((sequence) => ask(bus, { seq: sequence })))
    next = first.sequence
    for (const copy of [first, ...found]) {
      if (full()) break
      next++
      if (copy?.job === undefined) continue
      if (!wanted(copy.job)) {
        foreign++
        continue
      }
      copies.push({ ...copy, job: copy.job })
      bytes += copy.body.length
    }
    // The server jumps over other tenants only where one is asked for.
    const leaps = (copy: Asked | undefined): boolean =>
      copy?.job === undefined || (tenant !== undefined && !wanted(copy.job))
    const hits = found.filter((copy) => !leaps(copy)).length
    window = hits * 2 >= together ? Math.min(windowMax, window * 2) : Math.max(1, window >> 1)
  }
  return { copies, next }
}

type Asked = Omit<ParkedCopy, 'job'> & { readonly job: JobId | undefined }

async function ask(bus: Bus, question: object): Promise<Asked | undefined> {
  try {
    const answer = await bus.request('$JS.API.STREAM.MSG.GET.APPROVALS', question)
    const stored = storedFromApi(answer)
    if (stored === undefined) return undefined
    const { subject, sequence, body } = stored
    return { job: trailingJob(subject), sequence, expires: stored.header('Sluice-Expires'), body }
  } catch (error) {
    if (error instanceof BusError && error.code === noMessage) return undefined
    throw error
  }
}

/** "No message found", in the server's own codes. */
const noMessage = 10_037
