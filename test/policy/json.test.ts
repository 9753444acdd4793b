import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { findJsonProblem } from '../../policy/json-problem.ts'
import { parseJson } from '../../policy/json.ts'

const read = (text: string) => parseJson(Buffer.from(text))
const codeOf = (text: string) => {
  const parsed = read(text)
  return parsed.ok ? undefined : parsed.problem.code
}

describe('strict JSON', () => {
  it('reads what JSON.parse reads', () => {
    fc.assert(
      fc.property(fc.json({ stringUnit: 'binary' }), (text) => {
        // fast-check may write lone surrogates or a key twice only through escapes and records; both are ours to refuse.
        const parsed = read(text)
        if (parsed.ok) expect(parsed.value).toEqual(JSON.parse(text))
        else
          expect(['json-surrogate', 'json-encoding', 'json-duplicate-key', 'json-number']).toContain(
            parsed.problem.code,
          )
      }),
      { numRuns: 500 },
    )
  })

  it.each([
    ['a byte order mark', '\ufeff{}', 'json-encoding'],
    ['nothing', '', 'json-syntax'],
    ['white space only', ' \n', 'json-syntax'],
    ['a cut object', '{"a":1', 'json-syntax'],
    ['two values', '{} {}', 'json-syntax'],
    ['a comma too many', '[1,]', 'json-syntax'],
    ['a number with a leading zero', '[01]', 'json-syntax'],
    ['a raw line break in a string', '"a\nb"', 'json-syntax'],
    ['an unknown escape', '"\\x41"', 'json-syntax'],
    ['a key twice', '{"a":1,"a":2}', 'json-duplicate-key'],
    ['a key twice, once escaped', '{"a":1,"\\u0061":2}', 'json-duplicate-key'],
    ['__proto__ twice', '{"__proto__":1,"__proto__":2}', 'json-duplicate-key'],
    ['a key twice deep inside', '{"x":[{"y":{"k":1,"k":1}}]}', 'json-duplicate-key'],
    ['an integer-like key twice', '{"1":1,"1":2}', 'json-duplicate-key'],
    ['a lone high surrogate', '"\\ud800"', 'json-surrogate'],
    ['a lone low surrogate', '"\\uDC00"', 'json-surrogate'],
    ['a pair the wrong way round', '"\\udc00\\ud800"', 'json-surrogate'],
    ['a lone surrogate in a key', '{"\\ud83d":1}', 'json-surrogate'],
    ['2^53', '[9007199254740992]', 'json-number'],
    ['-2^53 - 1', '[-9007199254740993]', 'json-number'],
    ['an infinite number', '[1e400]', 'json-number'],
    ['a negative infinite number', '{"a":-1e400}', 'json-number'],
    ['65 levels', '['.repeat(65) + ']'.repeat(65), 'json-depth'],
  ] as const)('refuses %s', (_, text, code) => {
    expect(codeOf(text)).toBe(code)
  })

  it.each([
    ['a well-formed pair by escapes', '"\\ud83d\\ude00"'],
    ['the largest safe integer', '[9007199254740991,-9007199254740991]'],
    ['a large number that is not written as an integer', '[6.02e23,1e300]'],
    ['colons and quotes inside strings', '{"a:b":"c:\\"d\\":e\\\\"}'],
    ['64 levels', '['.repeat(64) + ']'.repeat(64)],
    ['the same key in different objects', '[{"a":1},{"a":{"a":2}}]'],
    ['empty keys and containers', '{"":{},"a":[]}'],
    ['a backslash at the end of a string', '{"a":"\\\\","b":"\\\\\\\\"}'],
  ])('accepts %s', (_, text) => {
    expect(read(text)).toEqual({ ok: true, value: JSON.parse(text) })
  })

  it('refuses bytes that are not UTF-8', () => {
    for (const bytes of [
      [0x22, 0xff, 0x22],
      [0x22, 0xc0, 0xaf, 0x22],
      [0x22, 0xed, 0xa0, 0x80, 0x22],
    ]) {
      expect(parseJson(Uint8Array.from(bytes))).toMatchObject({
        ok: false,
        problem: { code: 'json-encoding' },
      })
    }
  })

  it('keeps hostile keys as data', () => {
    const parsed = read('{"__proto__":{"admin":true},"constructor":1,"toString":null}')
    if (!parsed.ok) throw new Error(parsed.problem.message)
    expect(Object.keys(parsed.value as object)).toEqual(['__proto__', 'constructor', 'toString'])
    expect(({} as { admin?: boolean }).admin).toBeUndefined()
  })

  it('says where a mistake is', () => {
    expect(read('{\n  "a": 1,\n  "a": 2\n}')).toMatchObject({ problem: { line: 3, column: 3 } })
  })

  it('never repeats a value, and bounds and escapes a key', () => {
    const key = `k\u202e${'x'.repeat(500)}`
    const parsed = read(`{${JSON.stringify(key)}:"hush","b":"hush",${JSON.stringify(key)}:"hush"}`)
    if (parsed.ok) throw new Error('a duplicate key was accepted')
    expect(parsed.problem.message).not.toContain('hush')
    expect(parsed.problem.message.length).toBeLessThan(200)
    expect(parsed.problem.message).toMatch(/^[\x20-\x7e]+$/)
  })

  it('agrees with JSON.parse about syntax, whatever is cut out of or put into a text', () => {
    const base = '{"topic":"job.a","labels":{"a":"b\\u0041"},"n":[1,-2.5e3,true,null,{}],"s":"\\\\\\"x"}'
    fc.assert(
      fc.property(
        fc.nat(base.length),
        fc.nat(3),
        fc.constantFrom(
          '',
          '"',
          ':',
          '{',
          '}',
          '[',
          ']',
          ',',
          '\\',
          'u',
          '0',
          '-',
          'e',
          ' ',
          '\t',
          '\u0000',
          'é',
        ),
        (at, cut, put) => {
          const text = base.slice(0, at) + put + base.slice(at + cut)
          const problem = findJsonProblem(text)
          let parses = true
          try {
            JSON.parse(text)
          } catch {
            parses = false
          }
          expect(problem?.code === 'json-syntax').toBe(!parses)
          expect(read(text).ok).toBe(problem === undefined)
        },
      ),
      { numRuns: 3_000 },
    )
  })
})
