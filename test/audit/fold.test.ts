import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { jobFacts, timeline, type Filed } from '../../audit/fold.ts'
import type { EventName } from '../../audit/lifecycle.ts'
import type { JobEvent, Opened } from '../../audit/event.ts'
import { recordNext, type AuditRecord } from '../../audit/record.ts'
import { parseJobId, type JobId } from '../../policy/job-id.ts'

const opened: Opened = {
  job_id: parseJobId('default.m0000000000000000000000000000000') as JobId,
  tenant: 'default',
  topic: 'job.a.b',
  trace_id: 'trace-1',
  actor: { type: 'agent', id: 'demo', auth: 'nats' },
  job_hash: 'h'.repeat(64),
  hash_key: '1',
  payload: { bytes: 2 },
  received_at: '2030-01-01T00:00:00.000Z',
}
const decision = {
  type: 'REQUIRE_APPROVAL' as const,
  rule_id: 'ask-first',
  reason: 'somebody must look',
  policy_snapshot: 's1',
  constraints: { max_retries: 1 },
  matched: ['ask-first'],
}
const decided = {
  decision,
  evidence: { policy: { source_hash: 'p' }, evaluator: { name: 'sluice' as const, version: '1' } },
}
const dispatch = { pool: 'helpdesk', attempt: 1, attempts_max: 2, deadline: '2030-01-01T00:01:00.000Z' }
const resolution = {
  decision: 'approve' as const,
  by: 'ana',
  via: 'http' as const,
  at: '2030-01-01T00:00:05.000Z',
  note: 'fine',
  binding: 'client' as const,
}
const approval = {
  requirement: 'r',
  rules: ['ask-first'],
  requested_at: opened.received_at,
  expires_at: '2030-01-01T01:00:00.000Z',
}
const result = {
  worker: 'helpdesk-1',
  attempt: 2,
  status: 'ok' as const,
  action: 'redact' as const,
  findings: [{ detector: 'card', class: 'payment', count: 1, action: 'redact' }],
  detectors: 'd',
  output_hash: 'o',
  output_bytes: 7,
}

/** A chain as a gateway would write it, one record a second. */
function chain(events: readonly object[]): Filed[] {
  const records: AuditRecord[] = []
  for (const [index, event] of events.entries()) {
    const nowMs = Date.parse(opened.received_at) + index * 1_000
    const next = {
      gateway: 'g',
      last: records.at(-1) ?? opened,
      event: event as JobEvent,
      cause: `c${index}`,
      nowMs,
    }
    const record = recordNext(next)
    if (record === undefined) throw new Error(`no such move: ${(event as JobEvent).event}`)
    records.push(record)
  }
  return records.map((record, index) => ({ seq: 100 + index * 3, record }))
}

const whole = chain([
  { event: 'parked', approval, ...decided },
  { event: 'approved', resolution, dispatch, ...decided },
  { event: 'retried', limit: 'error', dispatch: { ...dispatch, attempt: 2 } },
  { event: 'succeeded', result },
])

describe('a timeline', () => {
  test('shows each thing where it came about and not where it is only carried along', () => {
    const told = timeline(whole)
    const shown = told?.events.map(
      ({ event, approval: a, approver, attempt, pool, result: r, terminal }) => ({
        event,
        approval: a !== undefined,
        approver,
        attempt,
        pool,
        result: r !== undefined,
        terminal: terminal?.status,
      }),
    )
    expect(shown).toEqual([
      {
        event: 'parked',
        approval: true,
        approver: undefined,
        attempt: undefined,
        pool: undefined,
        result: false,
        terminal: undefined,
      },
      {
        event: 'approved',
        approval: false,
        approver: 'ana',
        attempt: 1,
        pool: 'helpdesk',
        result: false,
        terminal: undefined,
      },
      {
        event: 'retried',
        approval: false,
        approver: undefined,
        attempt: 2,
        pool: 'helpdesk',
        result: false,
        terminal: undefined,
      },
      {
        event: 'succeeded',
        approval: false,
        approver: undefined,
        attempt: 2,
        pool: undefined,
        result: true,
        terminal: 'SUCCEEDED',
      },
    ])
    expect(told).toMatchObject({ state: 'SUCCEEDED', complete: true, tenant: 'default', topic: 'job.a.b' })
    expect(told).not.toHaveProperty('problems')
  })

  test('is the same whatever the order in which the records were read', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(whole, { minLength: whole.length }), (shuffled) => {
        expect(timeline(shuffled)).toEqual(timeline(whole))
      }),
    )
  })

  test.each([0, 1, 2])('without record %i it is not complete and says what does not fit', (missing) => {
    const told = timeline(whole.filter((_, index) => index !== missing))
    expect(told?.complete).toBe(false)
    expect(told?.problems?.length).toBeGreaterThan(0)
  })

  test('without its last record it is not complete, though nothing is out of place', () => {
    expect(timeline(whole.slice(0, -1))).toMatchObject({ complete: false, state: 'DISPATCHED' })
  })

  test('a record that claims a move which does not exist is named', () => {
    const forged = structuredClone(whole) as { seq: number; record: { data: { event: EventName } } }[]
    ;(forged[1] as { record: { data: { event: EventName } } }).record.data.event = 'released'
    expect(timeline(forged as Filed[])?.problems?.join()).toMatch(/no move from PARKED by released/)
  })

  test('a record that stands twice is named', () => {
    const [first] = whole as [Filed]
    expect(timeline([...whole, { ...first, seq: 101 }])).toMatchObject({ complete: false })
  })

  test('of no records is none', () => {
    expect(timeline([])).toBeUndefined()
  })
})

describe('what the newest record knows', () => {
  const nowMs = Date.parse(opened.received_at) + 10_000
  const at = (index: number): ReturnType<typeof jobFacts> => jobFacts((whole[index] as Filed).record, nowMs)

  test('a parked job has no attempts, and says until when somebody may decide', () => {
    expect(at(0)).toMatchObject({
      state: 'PARKED',
      attempts: 0,
      approval: { expires_at: approval.expires_at },
      next: 'wait',
    })
    expect(at(0)).not.toHaveProperty('deadline')
  })

  test('a running job has its attempt, its deadline and its approval', () => {
    expect(at(2)).toMatchObject({
      state: 'DISPATCHED',
      attempts: 2,
      deadline: dispatch.deadline,
      resolution,
      limit: 'error',
    })
  })

  test('an ended job has no deadline any more', () => {
    expect(at(3)).toMatchObject({
      state: 'SUCCEEDED',
      attempts: 2,
      constraints: { max_retries: 1 },
      next: 'stop',
    })
    expect(at(3)).not.toHaveProperty('deadline')
  })
})
