import { createHmac, hash } from 'node:crypto'
import type { Constraints } from './constraints.ts'

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'
const saltBytes = 16

/**
 * The one way to write a value as JSON text (RFC 8785): keys sorted by UTF-16 code units, no white space. Keys are written
 * out one by one, because an object re-made from sorted keys would put integer-like keys first and lose `__proto__`.
 * Throws on what JSON cannot say (undefined, NaN, lone surrogates): that is a bug of the caller, not bad input.
 */
export function canonicalJson(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return canonicalString(value)
    case 'number':
      if (!Number.isFinite(value)) throw new TypeError('canonicalJson: a number that JSON cannot say')
      return JSON.stringify(value)
    case 'boolean':
      return value ? 'true' : 'false'
    case 'object':
      if (value === null) return 'null'
      if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
      return canonicalObject(value as Record<string, unknown>)
    case 'undefined':
    case 'bigint':
    case 'symbol':
    case 'function':
      throw new TypeError(`canonicalJson: a ${typeof value} is not JSON`)
  }
}

function canonicalObject(object: Record<string, unknown>): string {
  const keys = Object.keys(object)
  // The default order of sort() is by UTF-16 code units, which is what RFC 8785 3.2.3 asks for. Records are mostly built in it.
  if (!isSorted(keys)) keys.sort()
  let text = ''
  for (const key of keys) {
    const value = object[key]
    if (value === undefined) continue
    text += `${text === '' ? '' : ','}${canonicalString(key)}:${canonicalJson(value)}`
  }
  return `{${text}}`
}

function isSorted(keys: readonly string[]): boolean {
  for (let index = 1; index < keys.length; index++)
    if ((keys[index - 1] as string) > (keys[index] as string)) return false
  return true
}

/** Needs no escape in JSON, whatever comes beside it. */
const plain = /^[ !#-[\]-~]*$/

function canonicalString(text: string): string {
  if (plain.test(text)) return `"${text}"`
  const written = JSON.stringify(text)
  // JSON.stringify writes a lone surrogate as a lower-case \ud8.. to \udf.., and nothing else that way.
  if (written.includes('\\ud') && /(?:^|[^\\])(?:\\\\)*\\ud[89a-f]/.test(written))
    throw new TypeError('canonicalJson: a lone surrogate')
  return written
}

/** SHA-256, 32 bytes. */
export function sha256(data: string | Uint8Array): Buffer {
  return hash('sha256', data, 'buffer')
}

/** SHA-256 as 64 hexadecimal digits. */
export function sha256Hex(data: string | Uint8Array): string {
  return hash('sha256', data, 'hex')
}

/**
 * Crockford's alphabet in lower case. Bytes are read as one bit string from the left and cut to `length` characters; a
 * number is written to the base 32 and padded with zeros to `length`. Both sort as what they stand for.
 */
export function base32(value: Uint8Array | bigint, length?: number): string {
  if (typeof value === 'bigint') return base32Number(value).padStart(length ?? 1, '0')
  let text = ''
  let bits = 0
  let held = 0
  for (const byte of value) {
    held = ((held << 8) | byte) & 0xfff
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += alphabet[(held >> bits) & 31]
    }
  }
  if (bits > 0) text += alphabet[(held << (5 - bits)) & 31]
  return length === undefined ? text : text.slice(0, length)
}

function base32Number(value: bigint): string {
  if (value < 0n) throw new RangeError('base32: a negative number')
  let text = ''
  // The runtime's digits go on with a to v where Crockford's leave letters out.
  for (const digit of value.toString(32)) text += alphabet[Number.parseInt(digit, 32)]
  return text
}

/** Twelve base32 characters (60 bits) of SHA-256: a name for something that need not resist an attacker alone. */
export function shortHash(text: string): string {
  return base32(sha256(text).subarray(0, 8), 12)
}

const extracted = new WeakMap<Buffer, Buffer>()

/** HKDF's first step (RFC 5869, 2.2) depends on the tenant's key alone, so it is done once for each key. */
function extract(tenantKey: Buffer): Buffer {
  const known = extracted.get(tenantKey)
  if (known !== undefined) return known
  const made = createHmac('sha256', Buffer.alloc(32)).update(tenantKey).digest()
  extracted.set(tenantKey, made)
  return made
}

/** The job's own salt, 16 bytes: HKDF-SHA256 of the tenant's key for the job id. It is gone when the key is erased. */
export function jobSalt(tenantKey: Buffer, jobId: string): Buffer {
  const info = `sluice job salt ${jobId}\u0001`
  return createHmac('sha256', extract(tenantKey)).update(info).digest().subarray(0, saltBytes)
}

/**
 * What an approval is bound to, as hexadecimal digits: HMAC-SHA256(salt, topic NUL body). Over the bytes as received: a
 * re-serialisation could give two different jobs one hash.
 */
export function jobHash(salt: Buffer, topic: string, body: Uint8Array): string {
  return createHmac('sha256', salt).update(`${topic}\0`).update(body).digest('hex')
}

/** Hexadecimal SHA-256 of a constraint set's canonical JSON; a worker echoes it to show which set it obeyed. */
export function constraintsHash(constraints: Constraints | null): string {
  return constraints === null ? noConstraintsHash : sha256Hex(canonicalJson(constraints))
}

const noConstraintsHash = sha256Hex('null')
