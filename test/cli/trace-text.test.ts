import { expect, test } from 'vitest'

import type { JobTimeline, TimelineEvent } from '../../audit/fold.ts'
import { traceText } from '../../cli/trace-text.ts'

const decision = {
  type: 'REQUIRE_APPROVAL',
  rule_id: 'four-eyes',
  reason: 'A person must look',
  policy_snapshot: 'f'.repeat(64),
  constraints: null,
  matched: ['four-eyes'],
} as const

const event = (seq: number, more: Partial<TimelineEvent>): TimelineEvent => ({
  seq,
  id: `default.m0.${seq}`,
  type: 'sluice.decision.v1',
  time: '2026-11-22T10:00:00.123Z',
  event: 'parked',
  state: { from: 'RECEIVED', to: 'PARKED' },
  actor: { type: 'agent', id: 'demo', auth: 'nats' },
  decision,
  rule_id: decision.rule_id,
  reason: decision.reason,
  policy_snapshot: decision.policy_snapshot,
  constraints: null,
  job_hash: '0'.repeat(64),
  ...more,
})

const job = (events: TimelineEvent[], more: Partial<JobTimeline> = {}): JobTimeline => ({
  job_id: 'default.m0',
  state: 'PARKED',
  topic: 'job.a.b',
  tenant: 'default',
  actor: { type: 'agent', id: 'demo', auth: 'nats' },
  complete: false,
  events,
  refused: [],
  ...more,
})

test('records and refusals stand in the order of the audit stream', () => {
  const refused = [
    {
      seq: 8,
      time: '2026-11-22T10:00:01.000Z',
      refuse: 'stale_binding',
      detail: 'look again',
      principal: 'ann',
    },
  ]
  const text = traceText({
    trace_id: 't',
    tenant: 'default',
    jobs: [job([event(7, {}), event(9, {})], { refused })],
  })
  expect([...text.matchAll(/#(\d+)/g)].map(([, seq]) => seq)).toEqual(['7', '8', '9'])
  expect(text).toContain('REQUIRE_APPROVAL by four-eyes: A person must look')
  expect(text).toContain('stale_binding by ann: look again')
})

test('who approved, over which door and with which note stands on the line of the approval', () => {
  const resolution = {
    decision: 'approve',
    by: 'ann',
    via: 'nats',
    at: '2026-11-22T10:00:00.000Z',
    note: 'looks right',
    binding: 'client',
  } as const
  const approved = event(2, { type: 'sluice.approval.resolved.v1', event: 'approved', resolution })
  expect(traceText({ trace_id: 't', tenant: 'default', jobs: [job([approved])] })).toContain(
    'approve by ann (nats): "looks right"',
  )
})

test.each([
  ['a line break', '\n#99 forged', '\\u{a}#99 forged'],
  ['an escape sequence', '\u001b[2J', '\\u{1b}[2J'],
  ['a turn of the writing direction', '\u202e', '\\u{202e}'],
])('a note with %s in it cannot draw over the trace', (_what, note, shown) => {
  const cancelled = event(2, { type: 'sluice.job.terminal.v1', event: 'cancelled', by: 'ann', note })
  const text = traceText({ trace_id: 't', tenant: 'default', jobs: [job([cancelled])] })
  expect(text).toContain(shown)
  expect(text.split('\n')).toHaveLength(5)
})

test('what does not fit together in a chain is pointed out', () => {
  const text = traceText({
    trace_id: 't',
    tenant: 'default',
    jobs: [job([event(1, {})], { problems: ['a record is missing'] })],
  })
  expect(text).toContain('PROBLEM a record is missing')
})

test('a topic that nobody could dispatch moves no cursor: it is shown, not obeyed', () => {
  const topic = 'job.a\u001b[2J\u202eb'
  const text = traceText({ trace_id: 't', tenant: 'default', jobs: [job([event(7, {})], { topic })] })
  for (const hidden of ['\u001b', '\u202e']) expect(text).not.toContain(hidden)
  expect(text).toContain(String.raw`job.a\u{1b}[2J\u{202e}b`)
})
