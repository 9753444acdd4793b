import { expect, test } from 'vitest'
import { mayVote, tally, type Ballot } from '../../policy/ballot.ts'
import type { Threshold } from '../../policy/rule.ts'

const membership = { groups: { ops: ['ann', 'bob', 'cho'] }, roles: { admin: ['zoe'] } }
const from = (kind: Threshold['from']['kind'], ...names: string[]): Threshold['from'] => ({ kind, names })
const adminOrTwoOps = [
  {
    rule: 'r1',
    thresholds: [
      { from: from('roles', 'admin'), approve: 1, deny: 1 },
      { from: from('groups', 'ops'), approve: 2, deny: 2 },
    ],
  },
]
const yes = (...names: string[]): Ballot[] => names.map((by) => ({ by, decision: 'approve' }))
const no = (...names: string[]): Ballot[] => names.map((by) => ({ by, decision: 'reject' }))

test.each([
  ['nobody', [], 'open'],
  ['one of ops', yes('ann'), 'open'],
  ['two of ops', yes('ann', 'bob'), 'approved'],
  ['an admin', yes('zoe'), 'approved'],
  ['strangers', yes('x', 'y'), 'open'],
  ['one against', [...yes('ann'), ...no('bob')], 'open'],
  ['two against one', [...yes('ann'), ...no('bob', 'cho')], 'rejected'],
  ['an admin against', [...yes('ann'), ...no('zoe')], 'rejected'],
] as const)('one admin or two of ops: %s leaves it %s', (_name, ballots, wanted) => {
  expect(tally(adminOrTwoOps, ballots, membership)).toBe(wanted)
})

test('every rule that asks must be satisfied, and any of them can reject', () => {
  const both = [
    ...adminOrTwoOps,
    { rule: 'r2', thresholds: [{ from: from('persons', 'eve'), approve: 1, deny: 1 }] },
  ]
  expect(tally(both, yes('zoe'), membership)).toBe('open')
  expect(tally(both, yes('zoe', 'eve'), membership)).toBe('approved')
  expect(tally(both, [...yes('zoe'), ...no('eve')], membership)).toBe('rejected')
})

test('a group named like something every object has is a group without members', () => {
  const odd = [
    { rule: 'r', thresholds: [{ from: from('groups', 'constructor', '__proto__'), approve: 1, deny: 1 }] },
  ]
  expect(mayVote(odd, 'ann', membership)).toBe(false)
  expect(tally(odd, yes('ann'), membership)).toBe('open')
})
