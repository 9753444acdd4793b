import { findJsonProblem } from './json-problem.ts'
import type { Problem } from './problem.ts'

/** A strictly read JSON document, or why it was refused. */
export type ParsedJson =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly problem: Problem }

/** Objects and arrays inside one another, at most. */
export const jsonDepthMax = 64

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Reads JSON that a stranger wrote so that everybody who reads the same bytes sees the same value: valid UTF-8 without a
 * byte order mark, no key twice, no lone surrogates, no integer beyond 2^53 - 1, nothing infinite, at most 64 levels deep.
 *
 * The common case costs little more than `JSON.parse`: one pass over the bytes counts the colons outside strings, one walk
 * over the tree counts the keys. If a key stands twice, the tree has fewer keys than the text has colons. Only when
 * something looks odd is the text read a second time, slowly, to say what and where.
 */
export function parseJson(bytes: Uint8Array): ParsedJson {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
    return refused('json-encoding', 'the text begins with a byte order mark; send plain UTF-8')
  }
  const text = decode(bytes)
  if (text === undefined) return refused('json-encoding', 'the text is not valid UTF-8')
  const colons = countColons(bytes)
  if (colons === tooDeep) {
    return refused('json-depth', `objects and arrays are nested more than ${jsonDepthMax} levels deep`)
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return {
      ok: false,
      problem: findJsonProblem(text) ?? { code: 'json-syntax', message: 'the text is not valid JSON' },
    }
  }
  if (colons !== odd && countKeys(value) === colons) return { ok: true, value }
  const problem = findJsonProblem(text)
  return problem === undefined ? { ok: true, value } : { ok: false, problem }
}

function refused(code: Problem['code'], message: string): ParsedJson {
  return { ok: false, problem: { code, message } }
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

const tooDeep = -1
const odd = -2
const quote = 0x22
const backslash = 0x5c
const colon = 0x3a

/** Colons outside strings; `odd` if an escape may be half of a surrogate pair, `tooDeep` if brackets nest too far. */
function countColons(bytes: Uint8Array): number {
  let colons = 0
  let depth = 0
  let surrogates = false
  const end = bytes.length
  for (let index = 0; index < end; index++) {
    const byte = bytes[index]
    if (byte === quote) {
      for (index++; index < end && bytes[index] !== quote; index++) {
        if (bytes[index] !== backslash) continue
        index++
        // \ud8.. to \udf.. are the only way to write a surrogate: valid UTF-8 cannot hold one.
        if (bytes[index] === 0x75 && ((bytes[index + 1] ?? 0) | 0x20) === 0x64) surrogates = true
      }
    } else if (byte === colon) colons++
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > jsonDepthMax) return tooDeep
    } else if (byte === 0x7d || byte === 0x5d) depth--
  }
  return surrogates ? odd : colons
}

/** Keys in the whole tree, or NaN when a number needs a second look. Recursion is bounded by the depth already checked. */
function countKeys(value: unknown): number {
  if (typeof value === 'string') return 0
  if (typeof value === 'number')
    return value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER ? NaN : 0
  if (typeof value !== 'object' || value === null) return 0
  let keys = 0
  if (Array.isArray(value)) {
    for (let at = 0; at < value.length; at++) keys += countKeys(value[at])
    return keys
  }
  // JSON.parse makes `__proto__` an own property like any other, so a plain loop sees every key.
  for (const key in value) keys += 1 + countKeys((value as Record<string, unknown>)[key])
  return keys
}
