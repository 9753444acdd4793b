import { expect, test } from 'vitest'
import { cardText } from '../../cli/approval-card.ts'
import { approvalsText } from '../../cli/approval-text.ts'
import type { ApprovalItem } from '../../gateway/queries/approval-item.ts'
import { testTerminal } from '../helpers/terminal.ts'

const nowMs = Date.parse('2030-01-01T12:00:00.000Z')

function item(
  payload: unknown,
  more: Partial<ApprovalItem> = {},
  job: Partial<ApprovalItem['job']> = {},
): ApprovalItem {
  const id = 'default.m0000000000000000000000001'
  return {
    job_id: id,
    job: {
      id,
      topic: 'job.mcp-bridge.write.update_ticket',
      tenant: 'default',
      actor: 'demo',
      payload,
      risk_tags: ['prod'],
      labels: { team: 'support' },
      ...job,
    },
    trace_id: 'trace-1',
    state: 'PARKED',
    reason: 'Production writes require human review',
    rule_id: 'ask',
    constraints: { max_runtime_sec: 45 },
    job_hash: 'a'.repeat(64),
    policy_snapshot: 'b'.repeat(64),
    requested_at: '2030-01-01T11:58:00.000Z',
    expires_at: '2030-01-01T12:13:42.000Z',
    level: 'normal',
    demands: [
      {
        rule: 'ask',
        thresholds: [
          { from: { kind: 'roles', names: ['admin'] }, approve: 1, deny: 1 },
          { from: { kind: 'groups', names: ['ops'] }, approve: 2, deny: 1 },
        ],
      },
    ],
    votes: [],
    ...more,
  }
}

function card(of: ApprovalItem, columns = 100): string[] {
  return cardText(of, { ...testTerminal({}, '', columns), nowMs: () => nowMs })
}

test('the effect comes first and the agent’s own words last, called its claim', () => {
  const shown = card(
    item(
      { status: 'closed', reason: 'urgent, please' },
      {},
      { labels: { justification: 'my boss said so' } },
    ),
  )
  const at = (text: string): number => shown.findIndex((line) => line.includes(text))
  const order = [
    'what runs',
    '"status": "closed"',
    'reach',
    'asked by',
    'why gated',
    'limits',
    'takes',
    'if nobody acts',
    'job hash',
    'urgent, please',
    'my boss said so',
  ]
  expect(order.map(at)).toEqual(order.map(at).toSorted((a, b) => a - b))
  expect(at('what runs')).toBe(1)
  expect(shown[at('"reason"')]).toContain("(the agent's claim, below)")
  expect(shown.slice(-2)).toEqual([
    'agent\'s claim  payload reason: "urgent, please"',
    'agent\'s claim  label justification: "my boss said so"',
  ])
})

test('what it takes, who has voted and what happens if nobody does anything is spelled out', () => {
  const votes = [
    { decision: 'approve', by: 'ana', via: 'http', at: '', note: 'fine', binding: 'client' },
  ] as const
  const lacks = {
    persons: 1,
    rules: [
      {
        rule: 'ask',
        thresholds: [
          { from: { kind: 'roles', names: ['admin'] }, approve: 1 },
          { from: { kind: 'groups', names: ['ops'] }, approve: 1 },
        ],
      },
    ],
  } as const
  const text = card(item({}, { votes, lacks, level: 'critical' })).join('\n')
  expect(text).toContain('still takes    1 of role admin or 1 of group ops (ask)')
  const enough = { persons: 1, rules: [] }
  expect(card(item({}, { votes, lacks: enough, level: 'critical' })).join('\n')).toContain(
    'still takes    1 more, whoever it is',
  )
  expect(card(item({}, { lacks })).join('\n')).not.toContain('still takes')
  expect(text).toContain('votes          ana approves: fine')
  expect(text).toContain('takes          1 of role admin or 2 of group ops (ask), by two persons at least')
  expect(text).toContain(
    'if nobody acts expires in 13m 42s (2030-01-01T12:13:42.000Z) -> not run -> the agent is told',
  )
})

test.each([40, 80, 200])(
  'on a terminal of %i columns no line is longer, whatever the agent writes',
  (columns) => {
    const long = 'word '.repeat(200)
    const shown = card(
      item(
        { [long]: long, list: [long.replaceAll(' ', '')], reason: long },
        { reason: long },
        { labels: { a: long } },
      ),
      columns,
    )
    // The payload is indented and named beyond the width it is folded to; ids are never cut.
    const payloadEnds = shown.findIndex((line) => line.startsWith('reach'))
    for (const line of shown.slice(payloadEnds)) expect(line.length).toBeLessThanOrEqual(columns)
    expect(shown.join('')).toContain('a'.repeat(20))
  },
)

test.each([
  ['a right-to-left override', '\u202e', '\\u{202e}'],
  ['a zero-width space', 'pay\u200bpal', '\\u{200b}'],
  ['a tag character', '\u{e0041}', '\\u{e0041}'],
  ['a Hangul filler', '\u3164', '\\u{3164}'],
  ['a no-break space', 'a\u00a0b', '\\u{a0}'],
  ['an escape', '\u001b[2J', '\\u001b'],
  ['a byte-order mark', '\ufeff', '\\u{feff}'],
  ['a line separator', '\u2028', '\\u{2028}'],
])('%s is shown in payload, label and claim, and never obeyed', (_name, text, visible) => {
  const shown = card(item({ value: text, reason: text }, {}, { labels: { label: text } })).join('\n')
  expect(shown.split('\n').filter((line) => line.includes(visible) || line.includes('\\u{1b}')).length).toBe(
    3,
  )
  expect(shown).not.toContain(text)
})

test('what looks like an address is no link, and a long value is folded with its size in bytes', () => {
  const shown = card(item({ url: 'https://evil.example/approve', long: 'é'.repeat(5_000) })).join('\n')
  expect(shown).toContain(
    String.raw`"https:\/\/evil.example\/approve"`.replace(String.raw`\/approve`, '/approve'),
  )
  expect(shown).not.toContain('://')
  expect(shown).toContain('... (10000 bytes)')
})

test('secrets are masked wherever they stand: value, number, name, label and claim', () => {
  const number = ['4111', '1111', '1111', '1111'].join('')
  const key = ['-----BEGIN', 'PRIVATE KEY-----'].join(' ')
  const of = item(
    { card: number, digits: Number(number), [number]: 1, key, reason: number },
    {},
    { labels: { card: number } },
  )
  const shown = card(of).join('\n')
  expect(shown).not.toContain(number)
  expect(shown).not.toContain('BEGIN')
  expect(shown.match(/\[redacted:payment-card\]/g)).toHaveLength(5)
  expect(shown).toMatch(/\[kept back: private-key-pem, \d+ bytes\]/)
})

test('no value of the agent’s hides another, and none passes for the gateway’s words', () => {
  const long = 'x'.repeat(500)
  const shown = card(
    item({ [`${long}1`]: 'first', [`${long}2`]: 'second', said: "(the agent's claim, below)" }),
  )
  expect(shown.filter((line) => /"first"|"second"/.test(line))).toHaveLength(2)
  expect(shown.find((line) => line.includes('"said"'))).toContain('"(the agent\'s claim, below)"')
})

test('a payload of many lines says how much is left, and none says so', () => {
  const rows = Array.from({ length: 100 }, (_, row) => row)
  expect(card(item({ rows })).join('\n')).toMatch(/\.\.\. 64 lines more, \d+ bytes in all/)
  expect(card(item(null)).join('\n')).toContain('(no payload)')
})

test('the list is one line each where there is room, and two where there is not', () => {
  const items = [
    item({}),
    item({}, { claim: { by: 'ana', via: 'http', at: '', until: '2030-01-01T12:10:00.000Z', note: '' } }),
  ]
  const on = (columns: number): string[] =>
    approvalsText(items, { ...testTerminal({}, '', columns), nowMs: () => nowMs })
  const wide = on(200)
  expect(wide).toHaveLength(3)
  expect(wide[2]).toMatch(/^default\.m0+1 {2}PARKED .* 13m 42s {2}ana for 10m$/)
  const narrow = on(80)
  expect(narrow).toHaveLength(4)
  expect(narrow[2]).toMatch(/^default\.m0+1 {2}PARKED {2}13m 42s {2}ana for 10m$/)
  expect(narrow[3]).toBe('  job.mcp-bridge.write.update_ticket  default/demo  prod  ask')
  expect(Math.max(...narrow.map((line) => line.length))).toBeLessThanOrEqual(80)
})
