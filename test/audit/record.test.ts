import canonicalize from 'canonicalize'
import { expect, test } from 'vitest'
import type { JobEvent, Opened } from '../../audit/event.ts'
import {
  decodeRecord,
  encodeRecord,
  recordNext,
  recordBytesMax,
  type AuditRecord,
} from '../../audit/record.ts'
import type { Decision } from '../../policy/evaluate.ts'
import type { JobId } from '../../policy/job-id.ts'

const opened: Opened = {
  job_id: `default.s${'0'.repeat(26)}` as JobId,
  tenant: 'default',
  topic: 'job.mcp-bridge.write.x',
  trace_id: 'a'.repeat(32),
  actor: { type: 'agent', id: 'demo', auth: 'nats' },
  job_hash: 'b'.repeat(64),
  hash_key: '1',
  payload: { bytes: 2 },
  received_at: '2026-11-22T00:00:00.000Z',
}
const decision: Decision = {
  type: 'REQUIRE_APPROVAL',
  rule_id: 'r',
  reason: 'because "quotes" and \u2028 separators',
  policy_snapshot: 'c'.repeat(64),
  constraints: { max_runtime_sec: 4, deny_hosts: ['b', 'a'] },
  matched: ['r'],
}
const evidence = {
  policy: { source_hash: 'd' },
  evaluator: { name: 'sluice' as const, version: '1' },
  input: {
    risk_tags: { declared: ['é', 'prod'], derived: [] },
    labels: { '10': 'ten', '9': 'nine', b: '', a: '\u0001' },
  },
  facts: { now_ms: 1, granted: [], fail_mode: 'closed' as const },
}
const parked: JobEvent & { readonly event: 'parked' } = {
  event: 'parked',
  decision,
  evidence,
  approval: {
    requirement: 'q',
    rules: ['r'],
    requested_at: opened.received_at,
    expires_at: opened.received_at,
    use_within_ms: 1,
    exclude: ['submitter'],
    demands: [],
    votes: [],
  },
}
const next = (last: AuditRecord | Opened, event: JobEvent, cause: string): AuditRecord => {
  const record = recordNext({
    gateway: 'g1',
    last,
    event,
    cause,
    nowMs: Date.parse(opened.received_at) + 1_500,
  })
  if (record === undefined) throw new Error('no such move')
  return record
}

test('a record is one line in RFC 8785 form, and reading gives back what was written', () => {
  const record = next(opened, parked, 'c1')
  const text = encodeRecord(record)
  expect(text).toBe(canonicalize(record))
  expect(text).not.toContain('\n')
  expect(decodeRecord(Buffer.from(text))).toEqual(record)
})

test('each record carries what the next one needs, counts on, and knows all causes', () => {
  const first = next(opened, parked, 'c1')
  const second = next(first, { event: 'cancelled', by: 'ann', note: 'no' }, 'c2')
  expect(second.data).toMatchObject({ ...opened, job_seq: 1, causes: ['c1', 'c2'], decision, by: 'ann' })
  expect(second.data.state).toEqual({ from: 'PARKED', to: 'CANCELLED' })
  expect(second.data.terminal).toEqual({ status: 'CANCELLED', events: 2, duration_ms: 1_500 })
  expect(second.id).toBe(`${opened.job_id}.1`)
})

test('a move that the life cycle does not have makes no record', () => {
  const first = next(opened, parked, 'c1')
  const result = { event: 'timed_out' as const, limit: 'x' }
  expect(recordNext({ gateway: 'g', last: first, event: result, cause: 'c', nowMs: 0 })).toBeUndefined()
})

test('a job at every limit of the door still fits into a record', () => {
  const labels = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`k${n}`, 'v'.repeat(250)]))
  const many = {
    ...decision,
    matched: Array.from({ length: 5_000 }, (_, n) => `rule-${n}-${'x'.repeat(50)}`),
  }
  const event = {
    ...parked,
    decision: many,
    evidence: { ...evidence, input: { ...evidence.input, labels } },
  }
  expect(Buffer.byteLength(encodeRecord(next(opened, event, 'c1')))).toBeLessThan(recordBytesMax)
})
