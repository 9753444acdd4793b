import { timeline, type Filed, type JobTimeline, type Refused } from '../../audit/fold.ts'
import { decodeRecord } from '../../audit/record.ts'
import { parseJobId, type JobId } from '../../policy/job-id.ts'
import type { AuditIndex } from './index-audit.ts'
import type { Io } from '../io.ts'
import { newestRecord, readMany } from './index-rows.ts'
import { auditSubject, refusedSubject } from '../subjects.ts'

/** Everything that happened under one trace id, of one tenant. */
export type TraceView = {
  readonly trace_id: string
  readonly tenant: string
  /** Every job ended, and no record is missing. */
  readonly complete: boolean
  readonly jobs: readonly JobTimeline[]
  /** True when there is more than one answer can hold: the oldest jobs or records are left out. */
  readonly truncated?: true
}

const jobsMax = 200
const recordsPerJobMax = 500
const refusedPerJobMax = 100

/** `id` is a trace id, or the id of one of its jobs; the first of the tenants that has one is answered for. */
export async function traceOf(
  io: Io,
  index: AuditIndex,
  id: string,
  tenants: readonly string[],
): Promise<TraceView | undefined> {
  for (const name of tenants) {
    const view = await traceOfTenant(io, index, id, name)
    if (view !== undefined) return view
  }
  // Trace ids and job ids look alike to people; the job knows its trace.
  const job = parseJobId(id)
  const record = job === undefined ? undefined : await newestRecord(io.bus, job)
  if (record === undefined) return undefined
  const { trace_id, tenant: owner } = record.data
  return tenants.includes(owner) ? traceOfTenant(io, index, trace_id, owner, record.data.job_id) : undefined
}

async function traceOfTenant(
  io: Io,
  index: AuditIndex,
  id: string,
  tenant: string,
  asked?: JobId,
): Promise<TraceView | undefined> {
  const first = index.trace(tenant, id, jobsMax)
  const opened = await recordsAt(io, first.values)
  // The job that was asked for is there whatever else claims its trace id.
  const jobs = new Set(asked === undefined ? [] : [asked])
  for (const { record } of opened)
    if (record.data.trace_id === id && record.data.tenant === tenant) jobs.add(record.data.job_id)
  if (jobs.size === 0) return undefined
  let truncated = first.more
  const timelines: JobTimeline[] = []
  for (const job of jobs) {
    const places = index.job(job, recordsPerJobMax)
    const beside = index.refused(job, refusedPerJobMax)
    truncated ||= places.more || beside.more
    const records = (await recordsAt(io, places.values)).filter(({ record }) => record.data.job_id === job)
    const refused = await refusedOf(io, job, beside.values)
    const told = timeline(records, refused)
    if (told !== undefined) timelines.push(told)
  }
  return {
    trace_id: id,
    tenant,
    complete: !truncated && timelines.every(({ complete }) => complete),
    jobs: timelines,
    ...(truncated ? { truncated } : {}),
  }
}

/** Read again by sequence; whatever is not a job's record there is left out, so the index needs no trust. */
async function recordsAt(io: Io, sequences: readonly number[]): Promise<Filed[]> {
  const stored = await readMany(io.bus, 'AUDIT', sequences)
  return stored.flatMap(({ sequence, subject, body }) => {
    const record = decodeRecord(body)
    const id = record.data?.job_id
    return id !== undefined && subject === auditSubject(id) ? [{ seq: sequence, record }] : []
  })
}

async function refusedOf(
  io: Io,
  job: Parameters<typeof refusedSubject>[0],
  sequences: readonly number[],
): Promise<Refused[]> {
  const stored = await readMany(io.bus, 'AUDIT', sequences)
  return stored
    .filter(({ subject }) => subject === refusedSubject(job))
    .map(({ sequence, body }) => {
      const { time, data } = JSON.parse(Buffer.from(body).toString()) as {
        time: string
        data: { refuse: string; detail: string; principal: string }
      }
      return { seq: sequence, time, refuse: data.refuse, detail: data.detail, principal: data.principal }
    })
}
