import type { JobEvent, Opened } from '../../audit/event.ts'
import type { EventName } from '../../audit/lifecycle.ts'
import type { AuditRecord, RecordData } from '../../audit/record.ts'
import type { Stop, Stoppable } from '../../policy/stop.ts'
import type { Position } from '../chain.ts'
import type { Io } from '../io.ts'
import { BusError, type Stored } from '../bus/message.ts'
import { auditControlSubject } from '../subjects.ts'

/** What lets a job go on is stored at most this much later than the order that forbids it; anything later is an alarm. */
const seenWithinMs = 1_000

/** The stop that covers a job: a new one (`fresh`), or one that was accepted before. */
export function stopOf(io: Io, job: Opened, fresh: boolean): Promise<Stop | undefined> {
  return io.control.stopped(stoppable(job), fresh)
}

/** The end of a waiting time, moved back by as long as stops have held the job: it keeps what remained of it. */
export function thawedMs(io: Io, data: RecordData, fromIso: string, untilIso: string): number {
  return Date.parse(untilIso) + io.control.heldMs(stoppable(data), Date.parse(fromIso), io.nowMs())
}

/** Events after which a worker may get the job. */
const enabling: ReadonlySet<EventName> = new Set(['allowed', 'approved', 'retried'])

/**
 * Until when this record may leave the process, if it lets a job go on; `unknown`: it must not, by what is known now. Looked
 * at in the same turn as the record is sent.
 */
export function mayLeaveBy(io: Io, { data }: AuditRecord): number | 'unknown' | undefined {
  if (!enabling.has(data.event)) return undefined
  const fresh = data.state.from === 'RECEIVED'
  return io.control.leaveBy(stoppable(data), fresh) ?? 'unknown'
}

/**
 * The last look before a dispatch, and a look back at one whose acknowledgement came so late that an order may have been
 * first. What an order overtook does not run; if a worker has it already, it is told to stop, and the alarm says that it had.
 */
export async function overtaken(io: Io, at: Position, subject: string): Promise<JobEvent | undefined> {
  const stop = await stopOf(io, at.record.data, false)
  if (stop === undefined) return undefined
  const dispatched = await io.bus.last('WORK', subject)
  if (dispatched !== undefined && !isLate(dispatched.timeMs, stop)) return undefined
  const enabledMs = (await io.bus.get('AUDIT', at.sequence))?.timeMs ?? Date.parse(at.record.time)
  if (dispatched !== undefined || isLate(enabledMs, stop)) await alarm(io, at, stop, enabledMs, dispatched)
  return { event: 'cancelled', by: stop.by, note: `stopped: ${stop.reason}` }
}

const looksMax = 5

/**
 * Until when the dispatch may leave this process, or what must follow instead because an order overtook it. Asked again here and
 * not by the cause: whoever else carries out the same cause may have been refused meanwhile, and nobody would come again.
 */
export async function clearToDispatch(
  io: Io,
  at: Position,
  subject: string,
): Promise<{ readonly leaveByMs: number } | { readonly instead: JobEvent }> {
  for (let look = 0; look < looksMax; look++) {
    const leaveByMs = io.control.leaveBy(stoppable(at.record.data), false)
    if (leaveByMs !== undefined) return { leaveByMs }
    await io.control.read()
    const instead = await overtaken(io, at, subject)
    if (instead !== undefined) return { instead }
  }
  throw new BusError('whether this is stopped could not be learned in time')
}

/** Both times are the server's. An order that is not on record yet has nobody too late. */
const isLate = (storedMs: number, stop: Stop): boolean =>
  storedMs > (stop.recorded_at_ms ?? Infinity) + seenWithinMs

const stoppable = (job: Opened): Stoppable => ({
  tenant: job.tenant,
  agent: job.actor.id,
  topic: job.topic,
})

async function alarm(
  io: Io,
  at: Position,
  stop: Stop,
  enabledMs: number,
  dispatched: Stored | undefined,
): Promise<void> {
  io.log.error({ jobId: at.record.data.job_id, stop: stop.id }, 'a job was let go on after the order to stop')
  io.metrics.lateAfterStop()
  const iso = (ms: number): string => new Date(ms).toISOString()
  const data = {
    record: at.record.id,
    sequence: at.sequence,
    stop: stop.id,
    stopped_at: iso(stop.recorded_at_ms ?? stop.at_ms),
    enabled_at: iso(enabledMs),
    dispatched_at: dispatched === undefined ? null : iso(dispatched.timeMs),
  }
  await io.bus.append(
    auditControlSubject,
    JSON.stringify({
      specversion: '1.0',
      type: 'sluice.control.late.v1',
      source: `urn:sluice:${io.config.gateway}`,
      time: iso(io.nowMs()),
      data,
    }),
    { messageId: `late.${at.record.id}` },
  )
}
