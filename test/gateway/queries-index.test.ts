import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createAuditIndex, rowOf, type Row } from '../../gateway/queries/index-audit.ts'
import { createKeyHash } from '../../gateway/queries/index-hash.ts'
import { createLinks } from '../../gateway/queries/index-links.ts'

describe('the hash of keys', () => {
  const text = (key: string, hash = createKeyHash()): string => {
    const { low, high } = hash(key)
    return `${low}.${high}`
  }

  test('is the same for the same key and another under another secret', () => {
    const hash = createKeyHash()
    expect(text('default.m1', hash)).toBe(text('default.m1', hash))
    expect(text('default.m1')).not.toBe(text('default.m1'))
  })

  test('tells keys apart that differ in one unit, in length, in order or beyond Latin letters', () => {
    const hash = createKeyHash()
    const keys = [
      '',
      '\0',
      '\0\0',
      'a',
      'b',
      'ab',
      'ba',
      'aa',
      'aaa',
      'aab',
      'abc',
      'acb',
      '漢',
      '字',
      '漢字',
      'a\uffff',
      'a'.repeat(70_000),
    ]
    expect(new Set(keys.map((key) => text(key, hash))).size).toBe(keys.length)
  })

  test('spreads a hundred thousand similar keys over both halves without a collision', () => {
    const hash = createKeyHash()
    const seen = new Set<string>()
    const buckets = new Uint32Array(256)
    for (let n = 0; n < 100_000; n++) {
      const { low, high } = hash(`default.m${n}`)
      seen.add(`${low}.${high}`)
      for (const half of [low, high])
        for (const shift of [0, 24])
          buckets[(half >>> shift) & 255] = (buckets[(half >>> shift) & 255] ?? 0) + 1
    }
    expect(seen.size).toBe(100_000)
    // 400,000 over 256 buckets: 1,562 each, give or take 40; ten times that would be a pattern.
    expect(Math.min(...buckets)).toBeGreaterThan(1_160)
    expect(Math.max(...buckets)).toBeLessThan(1_960)
  })
})

describe('links', () => {
  test('give back what a plain map of lists would, for any keys in any order', () => {
    const adds = fc.array(fc.tuple(fc.string({ maxLength: 3 }), fc.nat({ max: 2 ** 32 - 2 })), {
      maxLength: 300,
    })
    fc.assert(
      fc.property(adds, fc.nat({ max: 5 }), (pairs, max) => {
        const links = createLinks()
        const plain = new Map<string, number[]>()
        for (const [key, value] of pairs) {
          links.add(key, value)
          plain.set(key, [...(plain.get(key) ?? []), value])
        }
        for (const [key, values] of plain) {
          expect(links.of(key, Infinity)).toEqual({ values, more: false })
          const newest = max === 0 ? [] : values.slice(-max)
          expect(links.of(key, max)).toEqual({ values: newest, more: values.length > max })
        }
        expect(links.of('not there', 9)).toEqual({ values: [], more: false })
      }),
    )
  })

  test('of many keys need less than 50 bytes each', () => {
    const links = createLinks()
    for (let key = 0; key < 250_000; key++) links.add(`default.m${key}`, key)
    expect(links.bytes / 250_000).toBeLessThan(50)
    for (const key of [0, 12_345, 249_999]) expect(links.of(`default.m${key}`, 2).values).toEqual([key])
  })
})

describe('the index', () => {
  const row = (job: string, more: Partial<Row & { type: 'record' }> = {}): Row => ({
    type: 'record',
    job,
    tenant: 'default',
    trace: 't',
    first: true,
    leftApproval: false,
    waiting: { job },
    ...more,
  })

  test('keeps records, refusals and traces apart, from wherever the stream begins', () => {
    const index = createAuditIndex(1_000)
    index.add(1_000, row('a'))
    index.add(1_001, { type: 'refused', job: 'a' })
    index.add(1_002, { type: 'other' })
    index.add(1_003, row('a', { first: false, leftApproval: true }))
    index.add(1_004, row('b'))
    index.add(1_005, row('c', { tenant: 'acme' }))
    expect(index.job('a', 9).values).toEqual([1_000, 1_003])
    expect(index.refused('a', 9).values).toEqual([1_001])
    expect(index.trace('default', 't', 9).values).toEqual([1_000, 1_004])
    expect(index.trace('acme', 't', 9).values).toEqual([1_005])
    expect(index.trace('default', 'u', 9).values).toEqual([])
  })

  test('knows a job whose first record was removed from the stream by its trace all the same', () => {
    const index = createAuditIndex(1)
    index.add(7, row('a', { first: false }))
    index.add(8, row('a', { first: false }))
    expect(index.trace('default', 't', 9).values).toEqual([7])
  })

  test('pages through ended approvals, newest first', () => {
    const index = createAuditIndex(1)
    for (let sequence = 1; sequence <= 5; sequence++)
      index.add(sequence, row(`j${sequence}`, { leftApproval: true }))
    const first = index.resolved(Infinity, 2)
    expect(first).toEqual({ values: [5, 4], next: 3 })
    index.add(6, row('j6', { leftApproval: true }))
    expect(index.resolved(first.next, 2)).toEqual({ values: [3, 2], next: 1 })
    expect(index.resolved(1, 2)).toEqual({ values: [1], next: 0 })
  })

  test.each([
    '',
    'null',
    '7',
    '"x"',
    '{}',
    '[]',
    '{"data":null}',
    '{"data":{"job_id":7}}',
    '{"data":{"job_id":"a"}}',
    '\u0000',
  ])('a message it cannot read (%j) is of no kind and stops nothing', (text) => {
    expect(rowOf(new TextEncoder().encode(text))).toEqual({ type: 'other' })
  })
})
