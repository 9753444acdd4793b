import { hkdfSync } from 'node:crypto'
import canonicalize from 'canonicalize'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  base32,
  canonicalJson,
  constraintsHash,
  jobHash,
  jobSalt,
  sha256Hex,
  shortHash,
} from '../../policy/digest.ts'

describe('canonical JSON', () => {
  it('writes what the reference implementation of RFC 8785 writes', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'grapheme' }), (value) => {
        expect(canonicalJson(value)).toBe(canonicalize(value))
      }),
      { numRuns: 1_000 },
    )
  })

  it('sorts integer-like keys by their characters, not by their value', () => {
    expect(canonicalJson({ 10: 1, 9: 2, a: 3, 1: 4 })).toBe('{"1":4,"10":1,"9":2,"a":3}')
  })

  it('keeps a __proto__ key, so that two different values never share a text', () => {
    const hostile: unknown = JSON.parse('{"__proto__":{"a":1},"b":2}')
    expect(canonicalJson(hostile)).toBe('{"__proto__":{"a":1},"b":2}')
  })

  it('sorts by UTF-16 code units', () => {
    expect(canonicalJson({ '\u{1f600}': 1, '\ufb33': 2, é: 3 })).toBe('{"é":3,"\u{1f600}":1,"\ufb33":2}')
  })

  it.each([
    ['NaN', NaN],
    ['Infinity', Infinity],
    ['undefined', undefined],
    ['a bigint', 1n],
    ['half a pair', '\ud800'],
    ['half a pair inside', { a: '\udfff x' }],
    ['half a pair after a backslash', '\\\ud800'],
  ])('throws on %s', (_, value) => {
    expect(() => canonicalJson(value)).toThrow(TypeError)
  })

  it('takes the text of an escape for text', () => {
    expect(canonicalJson('\\ud800')).toBe('"\\\\ud800"')
  })
})

describe('base32', () => {
  it('writes a number so that text order is number order', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 64n - 1n), fc.bigInt(0n, 2n ** 64n - 1n), (a, b) => {
        expect(base32(a, 13) < base32(b, 13)).toBe(a < b)
      }),
    )
    expect(base32(2n ** 64n - 1n, 13)).toBe('fzzzzzzzzzzzz')
    expect(base32(0n, 13)).toBe('0000000000000')
  })

  it('writes bytes as the number they are, padded on the right to whole characters', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (bytes) => {
        const characters = Math.ceil((bytes.length * 8) / 5)
        const padded =
          BigInt(`0x${Buffer.from(bytes).toString('hex')}`) << BigInt(characters * 5 - bytes.length * 8)
        expect(base32(bytes)).toBe(base32(padded, characters))
      }),
    )
  })
})

describe('hashes', () => {
  it('know their test vectors', () => {
    expect(sha256Hex('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
    expect(shortHash('abc')).toBe('q9w1dfwf077y')
  })

  it('bind topic and body apart: moving a byte from one to the other changes the hash', () => {
    const salt = jobSalt(Buffer.alloc(32, 1), 'default.s0')
    expect(salt).toHaveLength(16)
    expect(jobHash(salt, 'job.a', Buffer.from('bc'))).not.toBe(jobHash(salt, 'job.ab', Buffer.from('c')))
    expect(jobHash(salt, 'job.a', Buffer.from('bc'))).toMatch(/^[0-9a-f]{64}$/)
    expect(jobSalt(Buffer.alloc(32, 1), 'default.s1')).not.toEqual(salt)
    expect(jobSalt(Buffer.alloc(32, 2), 'default.s0')).not.toEqual(salt)
  })

  it('salt as HKDF-SHA256 of the runtime does (RFC 5869)', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 64 }), fc.string(), (key, job) => {
        const wanted = Buffer.from(hkdfSync('sha256', key, '', `sluice job salt ${job}`, 16))
        expect(jobSalt(Buffer.from(key), job)).toEqual(wanted)
      }),
      { numRuns: 200 },
    )
  })

  it('hash constraints by their meaning, not by the order of their keys', () => {
    expect(constraintsHash({ max_retries: 1, max_runtime_sec: 2 })).toBe(
      constraintsHash({ max_runtime_sec: 2, max_retries: 1 }),
    )
    expect(constraintsHash(null)).toBe(sha256Hex('null'))
  })
})
