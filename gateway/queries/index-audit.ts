import type { AuditRecord } from '../../audit/record.ts'
import { waitingRow, type WaitingRow } from '../approvals/pending.ts'
import { createLinks, doubled } from './index-links.ts'

/**
 * Which records of AUDIT belong together: numbers only, made from the stream and thrown away with the process. Never
 * trusted: whoever asks reads the records behind the numbers and looks whether they are what was asked for.
 */
export type AuditIndex = {
  /** Records must come in the order of their sequence. */
  add(sequence: number, row: Row): void
  /** Sequences of a job's records, oldest first; the newest `max` if there are more. */
  job(job: string, max: number): Sequences
  /** Sequences of what was refused about a job, likewise; apart, so that a flood of them hides no record. */
  refused(job: string, max: number): Sequences
  /** Sequences of the first records of a trace's jobs, likewise. */
  trace(tenant: string, trace: string, max: number): Sequences
  /** Sequences of records that ended a wait for approval, newest first, older than the place `before`; `next` goes on. */
  resolved(before: number, max: number): { readonly values: readonly number[]; readonly next: number }
  readonly bytes: number
}

export type Sequences = { readonly values: readonly number[]; readonly more: boolean }

/** The type of what stands beside a job's chain. */
export const refusedType = 'sluice.refused.v1'

/** What the index keeps of one message; `other` is neither a job's record nor a refusal about a job. */
export type Row =
  | {
      readonly type: 'record'
      readonly job: string
      readonly tenant: string
      readonly trace: string
      readonly first: boolean
      readonly leftApproval: boolean
      readonly waiting: WaitingRow
    }
  | { readonly type: 'refused'; readonly job: string }
  | { readonly type: 'other' }

/** An empty index over a stream whose first sequence is `base`. */
export function createAuditIndex(base: number): AuditIndex {
  const jobs = createLinks()
  const traces = createLinks()
  let resolved = new Uint32Array(1 << 10)
  let resolvedCount = 0
  const refusedKey = (job: string): string => `${job}\0refused`
  const traceKey = (tenant: string, trace: string): string => `${tenant}\0${trace}`
  const absolute = ({ values, more }: Sequences): Sequences => ({
    values: values.map((value) => value + base),
    more,
  })
  return {
    add: (sequence, row) => {
      if (row.type === 'other') return
      const place = sequence - base
      if (row.type === 'refused') {
        jobs.add(refusedKey(row.job), place)
        return
      }
      // A job whose first record is gone from the stream still belongs to its trace.
      const isNew = jobs.add(row.job, place)
      if (row.first || isNew) traces.add(traceKey(row.tenant, row.trace), place)
      if (!row.leftApproval) return
      if (resolvedCount === resolved.length) resolved = doubled(resolved)
      resolved[resolvedCount++] = place
    },
    job: (job, max) => absolute(jobs.of(job, max)),
    refused: (job, max) => absolute(jobs.of(refusedKey(job), max)),
    trace: (tenant, trace, max) => absolute(traces.of(traceKey(tenant, trace), max)),
    resolved: (before, max) => {
      const end = Math.min(before, resolvedCount)
      const next = Math.max(0, end - max)
      return { values: [...resolved.subarray(next, end)].toReversed().map((place) => place + base), next }
    },
    get bytes() {
      return jobs.bytes + traces.bytes + resolved.byteLength
    },
  }
}

/** What the index keeps of a message's bytes. What it cannot read is `other`: it files, it does not judge. */
export function rowOf(body: Uint8Array): Row {
  try {
    const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString()
    const { type, data } = JSON.parse(text) as AuditRecord
    if (typeof data.job_id !== 'string') return { type: 'other' }
    return type === refusedType ? { type: 'refused', job: data.job_id } : recordRow(data)
  } catch {
    return { type: 'other' }
  }
}

/** The same of a record that is in hand already. */
export function recordRow(data: AuditRecord['data']): Row {
  const { from, to } = data.state
  return {
    type: 'record',
    job: data.job_id,
    tenant: data.tenant,
    trace: data.trace_id,
    first: data.job_seq === 0,
    // A vote, or a new binding, still waits.
    leftApproval: from === 'PARKED' && to !== 'PARKED',
    waiting: waitingRow(data),
  }
}
