import { expect, it } from 'vitest'
import { jobIdFromMessageId, jobIdFromStored, parseJobId } from '../../policy/job-id.ts'

it('gives the same agent and message id the same job, and another agent another', () => {
  const id = jobIdFromMessageId('default', 'demo', 'order-1')
  expect(id).toMatch(/^default\.m[0-9a-z]{32}$/)
  expect(jobIdFromMessageId('default', 'demo', 'order-1')).toBe(id)
  expect(jobIdFromMessageId('default', 'sibling', 'order-1')).not.toBe(id)
  expect(jobIdFromMessageId('default', 'demo', 'order-2')).not.toBe(id)
})

it('does not confuse an agent that ends where the message id begins', () => {
  expect(jobIdFromMessageId('t', 'ab', 'c')).not.toBe(jobIdFromMessageId('t', 'a', 'bc'))
})

it('names a stored message by time and sequence, in fixed width and in order', () => {
  const first = jobIdFromStored('default', 1_763_800_000_000_000_000n, 9)
  const second = jobIdFromStored('default', 1_763_800_000_000_000_000n, 10n)
  expect(first).toMatch(/^default\.s[0-9a-z]{26}$/)
  expect(first < second).toBe(true)
  expect(jobIdFromStored('default', 1_763_800_000_000_000_001n, 1) > second).toBe(true)
})

it.each([
  '',
  'default',
  'default.',
  '.s0123456789012345678901',
  'Default.s0123456789012345678901',
  'default.s012',
  'a.b.s0123456789012345678901',
  'default.S0123456789012345678901',
  '<job_id>',
  'default.s0123456789012345678901\n',
  `default.${'a'.repeat(41)}`,
])('does not take %j for a job id', (text) => {
  expect(parseJobId(text)).toBeUndefined()
})

it('takes its own ids back', () => {
  const id = jobIdFromStored('t-1', 5n, 7)
  expect(parseJobId(id)).toBe(id)
})
