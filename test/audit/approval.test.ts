import { expect, test } from 'vitest'
import { withinApproved } from '../../audit/approval.ts'
import { builtinDecision } from '../../policy/evaluate.ts'
import type { Constraints } from '../../policy/constraints.ts'

const now = (constraints: Constraints | null): Constraints | null =>
  withinApproved({ ...decision, constraints }, shown, { votes: [] }).constraints
const decision = builtinDecision('DENY', 'sluice.error', 'any', 'a'.repeat(64))
let shown: Constraints | null

test.each<[string, Constraints | null, Constraints | null, number | undefined]>([
  ['none were shown and the policy gives some by now', { max_runtime_sec: 9 }, { max_retries: 3 }, 0],
  ['nothing was shown at all', null, { max_retries: 3 }, 0],
  ['some were shown and the policy gives more by now', { max_retries: 1 }, { max_retries: 3 }, 1],
  ['the policy gives fewer by now', { max_retries: 3 }, { max_retries: 1 }, 1],
  ['nobody ever spoke of them', { max_runtime_sec: 9 }, { max_runtime_sec: 5 }, undefined],
])('an approved job has no more retries than its approver was shown: %s', (_name, before, after, retries) => {
  shown = before
  expect(now(after)?.max_retries).toBe(retries)
})
