import { expect, it } from 'vitest'
import { quoted } from '../../policy/problem.ts'
import { nearest } from '../../policy/suggest.ts'

it.each([
  ['denny', ['allow', 'deny', 'throttle'], 'deny'],
  ['ALLOW', ['allow', 'deny'], 'allow'],
  ['risk-tags', ['risk_tags', 'requires'], 'risk_tags'],
  ['topcis', ['topics', 'tenants'], 'topics'],
  ['regex', ['equals', 'prefix'], undefined],
  ['', ['allow'], undefined],
  ['x'.repeat(100_000), ['allow'], undefined],
])('for %.20s of %j suggests %s', (word, known, meant) => {
  expect(nearest(word, known)).toBe(meant)
})

it('quotes foreign text so that it can do no harm in a terminal or a log', () => {
  expect(quoted('plain')).toBe('"plain"')
  expect(quoted('a"b\u001b[31m\u202e\n')).toBe('"a\\"b\\u001b[31m\\u202e\\n"')
  expect(quoted('x'.repeat(1_000)).length).toBeLessThan(80)
})
