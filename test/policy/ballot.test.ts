import { expect, test } from 'vitest'
import { lacking, mayVote, tally, type Ballot } from '../../policy/ballot.ts'
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
  expect(tally(adminOrTwoOps, ballots, membership, 'normal')).toBe(wanted)
})

test('every rule that asks must be satisfied, and any of them can reject', () => {
  const both = [
    ...adminOrTwoOps,
    { rule: 'r2', thresholds: [{ from: from('persons', 'eve'), approve: 1, deny: 1 }] },
  ]
  expect(tally(both, yes('zoe'), membership, 'normal')).toBe('open')
  expect(tally(both, yes('zoe', 'eve'), membership, 'normal')).toBe('approved')
  expect(tally(both, [...yes('zoe'), ...no('eve')], membership, 'normal')).toBe('rejected')
})

test('what is lacking is said for each rule that is not satisfied yet, and in persons', () => {
  const eve = { rule: 'r2', thresholds: [{ from: from('persons', 'eve'), approve: 1, deny: 1 }] }
  const both = [...adminOrTwoOps, eve]
  expect(lacking(both, [], membership, 'normal')).toMatchObject({
    persons: 1,
    rules: [{ thresholds: [{ approve: 1 }, { approve: 2 }] }, { rule: 'r2' }],
  })
  expect(lacking(both, yes('ann'), membership, 'normal')).toMatchObject({
    persons: 1,
    rules: [{ thresholds: [{ approve: 1 }, { approve: 1 }] }, { rule: 'r2' }],
  })
  expect(lacking(both, yes('zoe'), membership, 'normal').rules).toEqual([
    { rule: 'r2', thresholds: [{ from: eve.thresholds[0]?.from, approve: 1 }] },
  ])
  expect(lacking(adminOrTwoOps, yes('zoe'), membership, 'critical')).toEqual({ persons: 1, rules: [] })
  expect(lacking(both, yes('zoe', 'eve'), membership, 'critical')).toEqual({ persons: 0, rules: [] })
})

test('a group named like something every object has is a group without members', () => {
  const odd = [
    { rule: 'r', thresholds: [{ from: from('groups', 'constructor', '__proto__'), approve: 1, deny: 1 }] },
  ]
  expect(mayVote(odd, 'ann', membership)).toBe(false)
  expect(tally(odd, yes('ann'), membership, 'normal')).toBe('open')
})

test('critical takes two persons, whatever the thresholds say, and only those whose word counts', () => {
  const one = [{ rule: 'r1', thresholds: [{ from: from('anyone'), approve: 1, deny: 1 }] }]
  const some = [{ rule: 'r1', thresholds: [{ from: from('groups', 'ops'), approve: 1, deny: 1 }] }]
  expect(tally(one, yes('ann'), membership, 'critical')).toBe('open')
  expect(tally(one, yes('ann', 'ann'), membership, 'critical')).toBe('open')
  expect(tally(one, yes('ann', 'bob'), membership, 'critical')).toBe('approved')
  expect(tally(one, yes('ann'), membership, 'high')).toBe('approved')
  expect(tally(one, no('ann'), membership, 'critical')).toBe('rejected')
  expect(tally(some, yes('ann', 'stranger'), membership, 'critical')).toBe('open')
  expect(tally(some, yes('ann', 'bob'), { ...membership, groups: { ops: ['bob'] } }, 'critical')).toBe('open')
})
