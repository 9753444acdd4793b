import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { patternProblem, subjectMatches, topicProblem } from '../../policy/topic.ts'

describe('topics', () => {
  it.each([
    'job.a',
    'job.mcp-bridge.read.get_ticket',
    `job.${'a'.repeat(64)}`,
    `job.${Array(16).fill('t').join('.')}`,
  ])('accepts %s', (topic) => {
    expect(topicProblem(topic)).toBeUndefined()
  })

  it.each([
    ['nothing after job.', 'job.'],
    ['no job. in front', 'worker.a'],
    ['job alone', 'job'],
    ['an empty token', 'job.a..b'],
    ['a dot at the end', 'job.a.'],
    ['a star', 'job.*'],
    ['a greater-than', 'job.a.>'],
    ['a space', 'job.a b'],
    ['a control character', 'job.a\u0000'],
    ['a line break at the end', 'job.a\n'],
    ['letters beyond ASCII', 'job.ä'],
    ['a token of 65', `job.${'a'.repeat(65)}`],
    ['17 tokens', `job.${Array(17).fill('t').join('.')}`],
    ['4,000 characters', `job.${'a.'.repeat(2_000)}`],
    ['20,000 tokens', `job${'.a'.repeat(20_000)}`],
  ])('refuses %s, without repeating it', (_, topic) => {
    const problem = topicProblem(topic)
    expect(problem).toBeDefined()
    expect(problem?.length).toBeLessThan(120)
  })
})

describe('patterns', () => {
  it.each(['job.>', 'job.*', 'job.a.*.b', 'job.a.>'])('accepts %s', (pattern) => {
    expect(patternProblem(pattern)).toBeUndefined()
  })

  it.each([
    ['mcp.>', 'must start with "job."'],
    ['job.a.tenant-*', 'inside a token'],
    ['job.a>', 'inside a token'],
    ['job.>.a', 'before the last token'],
    ['job..a', 'empty token'],
    ['job.', 'empty token'],
    ['job.a b', 'characters other than'],
  ])('refuses %s', (pattern, because) => {
    expect(patternProblem(pattern)).toContain(because)
  })
})

describe('wildcards', () => {
  it.each([
    ['job.*', 'job.a', true],
    ['job.*', 'job.a.b', false],
    ['job.*', 'job', false],
    ['job.>', 'job.a', true],
    ['job.>', 'job.a.b.c', true],
    ['job.>', 'job', false],
    ['job.a.>', 'job.a', false],
    ['job.*.b', 'job.a.b', true],
    ['job.*.b', 'job.a.B', false],
    ['job.a', 'job.a.b', false],
    ['>', 'job.a', true],
  ])('%s against %s: %s', (pattern, subject, covered) => {
    expect(subjectMatches(pattern, subject)).toBe(covered)
  })

  it('cover what a naive matcher says they cover', () => {
    const token = fc.constantFrom('a', 'b', 'A')
    const tokens = fc.array(token, { minLength: 1, maxLength: 4 })
    const parts = fc.tuple(fc.array(fc.constantFrom('a', 'b', 'A', '*'), { maxLength: 4 }), fc.boolean())
    const naive = (pattern: readonly string[], subject: readonly string[]): boolean => {
      const [head, ...rest] = pattern
      if (head === undefined) return subject.length === 0
      if (head === '>') return subject.length > 0
      return subject.length > 0 && (head === '*' || head === subject[0]) && naive(rest, subject.slice(1))
    }
    fc.assert(
      fc.property(parts, tokens, ([front, rest], subject) => {
        const pattern = rest || front.length === 0 ? [...front, '>'] : front
        expect(subjectMatches(pattern.join('.'), subject.join('.'))).toBe(naive(pattern, subject))
      }),
      { numRuns: 2_000 },
    )
  })
})
