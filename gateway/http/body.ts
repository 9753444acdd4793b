import type { Context } from 'hono'
import { jobBytesMax } from '../../policy/job.ts'
import { parseJson } from '../../policy/json.ts'
import { quoted } from '../../policy/problem.ts'
import { nearest } from '../../policy/suggest.ts'
import { problem } from './problem.ts'

export type JsonObject = Readonly<Record<string, unknown>>

/** The body's bytes and what they say, or the answer that says why not. */
export type ReadBody =
  | { readonly ok: true; readonly bytes: Uint8Array; readonly value: JsonObject }
  | { readonly ok: false; readonly response: Response }

/** Reads a JSON object strictly: our own media type check keeps forms of web pages out, too. */
export async function readObject(c: Context): Promise<ReadBody> {
  if (!isJson(c.req.header('content-type')))
    return refused(problem(c, 'unsupported_media_type', 'send Content-Type: application/json'))
  const bytes = await readBytes(c)
  return bytes === undefined ? refused(tooLarge(c)) : parse(c, bytes)
}

/** The same where the body may be left out. */
export async function readOptionalObject(c: Context): Promise<ReadBody> {
  if (c.req.header('content-type') !== undefined) return readObject(c)
  const bytes = await readBytes(c)
  if (bytes === undefined) return refused(tooLarge(c))
  if (bytes.length === 0) return { ok: true, bytes, value: {} }
  return refused(problem(c, 'unsupported_media_type', 'send Content-Type: application/json'))
}

/** Everything that was sent, or undefined if it is more than a job may have; then the rest is not read. */
async function readBytes(c: Context): Promise<Uint8Array | undefined> {
  const declared = c.req.header('content-length')
  if (declared !== undefined)
    return Number(declared) > jobBytesMax ? undefined : new Uint8Array(await c.req.arrayBuffer())
  const chunks: Uint8Array[] = []
  let length = 0
  const { body } = c.req.raw
  if (body === null) return new Uint8Array()
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    length += chunk.length
    if (length > jobBytesMax) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function tooLarge(c: Context): Response {
  // The rest of the body is not read, so the connection cannot carry another request.
  c.header('Connection', 'close')
  return problem(c, 'payload_too_large', `a request has at most ${jobBytesMax} bytes`)
}

function parse(c: Context, bytes: Uint8Array): ReadBody {
  const parsed = parseJson(bytes)
  if (!parsed.ok) {
    const { code, message } = parsed.problem
    return refused(problem(c, 'invalid_json', message, { reason: code }))
  }
  const { value } = parsed
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return refused(problem(c, 'invalid', 'the body must be one JSON object'))
  return { ok: true, bytes, value: value as JsonObject }
}

const refused = (response: Response): ReadBody => ({ ok: false, response })

function isJson(contentType: string | undefined): boolean {
  const [media = '', ...parameters] = (contentType ?? '').toLowerCase().split(';')
  const charset = parameters.map((parameter) => parameter.trim()).find((one) => one.startsWith('charset='))
  if (charset !== undefined && !['charset=utf-8', 'charset="utf-8"'].includes(charset)) return false
  return /^application\/([a-z0-9.-]+\+)?json$/.test(media.trim())
}

/** What is wrong with the keys of an object, or undefined. */
export function unknownKey(value: JsonObject, known: readonly string[]): string | undefined {
  const unknown = Object.keys(value).find((key) => !known.includes(key))
  if (unknown === undefined) return undefined
  const meant = nearest(unknown, known)
  return `unknown key ${quoted(unknown)}${meant === undefined ? `; known are ${known.join(', ')}` : `; did you mean "${meant}"?`}`
}

/** `true` or `false` in the query; `otherwise` if it is absent, undefined if it is anything else. */
export function queryFlag(c: Context, name: string, otherwise: boolean): boolean | undefined {
  const text = c.req.query(name)
  if (text === undefined) return otherwise
  if (text === 'true' || text === '1' || text === '') return true
  return text === 'false' || text === '0' ? false : undefined
}

/** A whole number in the query within its bounds; undefined if it is anything else. */
export function queryNumber(
  c: Context,
  name: string,
  bounds: { readonly min: number; readonly max: number; readonly otherwise: number },
): number | undefined {
  const text = c.req.query(name)
  if (text === undefined) return bounds.otherwise
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  return value >= bounds.min && value <= bounds.max ? value : undefined
}
