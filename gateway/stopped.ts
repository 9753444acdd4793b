import type { JobEvent, Opened } from '../audit/event.ts'
import type { RecordData } from '../audit/record.ts'
import type { Stop } from '../policy/stop.ts'
import type { Io } from './io.ts'
import type { Position } from './chain.ts'
import { auditControlSubject } from './subjects.ts'

/** An enabling record is at most this much younger than the order that forbids it; a younger one is an alarm. */
const seenWithinMs = 1_000

/** The stop that covers a job: a new one (`fresh`), or one that was accepted before. */
export function stopOf(io: Io, job: Opened, fresh: boolean): Promise<Stop | undefined> {
  return io.control.stopped({ tenant: job.tenant, agent: job.actor.id, topic: job.topic }, fresh)
}

/** The end of a waiting time, moved back by as long as stops have held the job: it keeps what remained of it. */
export function thawedMs(io: Io, data: RecordData, fromIso: string, untilIso: string): number {
  const job = { tenant: data.tenant, agent: data.actor.id, topic: data.topic }
  return Date.parse(untilIso) + io.control.heldMs(job, Date.parse(fromIso), io.nowMs())
}

/** The last look before a dispatch: what an order overtook between its record and now does not run. */
export async function overtaken(io: Io, at: Position): Promise<JobEvent | undefined> {
  const { data } = at.record
  const stop = await stopOf(io, data, false)
  if (stop === undefined) return undefined
  if (Date.parse(at.record.time) > stop.at_ms + seenWithinMs) await alarm(io, at, stop)
  return { event: 'cancelled', by: stop.by, note: `stopped: ${stop.reason}` }
}

async function alarm(io: Io, at: Position, stop: Stop): Promise<void> {
  io.log.error({ jobId: at.record.data.job_id, stop: stop.id }, 'a job was enabled after the order to stop')
  io.metrics.refused('enabled-after-stop')
  const data = { record: at.record.id, stop: stop.id, enabled_at: at.record.time, stopped_at_ms: stop.at_ms }
  await io.bus.append(
    auditControlSubject,
    JSON.stringify({
      specversion: '1.0',
      type: 'sluice.control.late.v1',
      time: new Date(io.nowMs()).toISOString(),
      data,
    }),
    { messageId: `late.${at.record.id}` },
  )
}
