import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  meetConstraints,
  needsWorker,
  normalConstraints,
  type Constraints,
} from '../../policy/constraints.ts'

const limit = fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined })
const list = (...entries: string[]) => fc.option(fc.subarray(entries), { nil: undefined })
const paths = ['/', '/a', '/a/b', '/a/b/c', '/ab', '/x']
const hosts = ['a.org', '*.a.org', 'x.a.org', '*.x.a.org', 'b.org', '*.org']
const anyConstraints = fc
  .record({
    max_runtime_sec: limit,
    max_retries: limit,
    allow_paths: list(...paths),
    deny_paths: list(...paths),
    allow_hosts: list(...hosts),
  })
  .map((parts) => normalConstraints(JSON.parse(JSON.stringify(parts)) as Constraints))

describe('constraints that meet', () => {
  it('take the least limit, what both allow, and all that either denies', () => {
    const a = { max_runtime_sec: 10, allow_paths: ['/data', '/tmp'], deny_hosts: ['b.org'] }
    const b = {
      max_runtime_sec: 20,
      max_retries: 1,
      allow_paths: ['/data/in', '/var'],
      deny_hosts: ['a.org'],
    }
    expect(meetConstraints(a, b)).toEqual({
      max_runtime_sec: 10,
      max_retries: 1,
      allow_paths: ['/data/in'],
      deny_hosts: ['a.org', 'b.org'],
    })
  })

  it('allow nothing when two allow-lists have nothing in common', () => {
    expect(meetConstraints({ allow_hosts: ['a.org'] }, { allow_hosts: ['b.org'] })).toEqual({
      allow_hosts: [],
    })
  })

  it('do not take /ab for something below /a, nor a.org for something below *.a.org', () => {
    expect(meetConstraints({ allow_paths: ['/a'] }, { allow_paths: ['/ab'] })).toEqual({ allow_paths: [] })
    expect(meetConstraints({ allow_hosts: ['*.a.org'] }, { allow_hosts: ['a.org'] })).toEqual({
      allow_hosts: [],
    })
    expect(meetConstraints({ allow_hosts: ['*.a.org'] }, { allow_hosts: ['xa.org'] })).toEqual({
      allow_hosts: [],
    })
  })

  it('meet in any order and grouping with the same result, and never loosen', () => {
    fc.assert(
      fc.property(anyConstraints, anyConstraints, anyConstraints, (a, b, c) => {
        expect(meetConstraints(a, b)).toEqual(meetConstraints(b, a))
        expect(meetConstraints(meetConstraints(a, b), c)).toEqual(meetConstraints(a, meetConstraints(b, c)))
        expect(meetConstraints(a, a)).toEqual(a)
        expect(meetConstraints(a, null)).toEqual(a)
        expect(meetConstraints(null, a)).toEqual(a)
      }),
      { numRuns: 2_000 },
    )
  })
})

it('need the worker exactly when they name paths or hosts', () => {
  expect(needsWorker(null)).toBe(false)
  expect(needsWorker({ max_runtime_sec: 1, max_output_bytes: 5 })).toBe(false)
  for (const key of ['allow_paths', 'deny_paths', 'allow_hosts', 'deny_hosts'])
    expect(needsWorker({ [key]: [] })).toBe(true)
})
