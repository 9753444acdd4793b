import { isMap, LineCounter, parseDocument, type Document, type Node } from 'yaml'
import { type z } from 'zod'

import { quoted } from '../policy/problem.ts'
import { nearest } from '../policy/suggest.ts'

/** One thing wrong with a file: where it is (both counted from 1) and what to do about it. */
export type FileProblem = { file: string; line: number; column: number; message: string }

/** A checked file, or everything that is wrong with it. */
export type FileResult<Value> = { ok: true; value: Value } | { ok: false; problems: FileProblem[] }

/**
 * Reads YAML text against a schema. Duplicate keys, aliases that run wild and every unknown key are problems with a
 * line and a column; an unknown key comes with the known key it most resembles.
 */
export function readYaml<Schema extends z.ZodType>(
  file: string,
  text: string,
  schema: Schema,
): FileResult<z.output<Schema>> {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true })
  const at = (offset: number, message: string): FileProblem => {
    const { line, col } = lines.linePos(offset)
    return { file, line: Math.max(line, 1), column: Math.max(col, 1), message }
  }
  if (document.errors.length > 0) {
    const problems = document.errors.map((error) =>
      at(error.pos[0], error.message.split('\n')[0] ?? 'not YAML'),
    )
    return { ok: false, problems }
  }
  const parsed = schema.safeParse(document.toJS({ maxAliasCount: 0 }) ?? {})
  if (parsed.success) return { ok: true, value: parsed.data }
  const problems = parsed.error.issues.flatMap((issue) => {
    if (issue.code !== 'unrecognized_keys') {
      return [at(offsetOf(document, issue.path), `${pathText(issue.path)}${issue.message}`)]
    }
    const known = knownKeys(schema, issue.path)
    return issue.keys.map((key) => at(offsetOfKey(document, issue.path, key), unknownKey(key, known)))
  })
  return { ok: false, problems }
}

/** The message for a key nobody knows, with the nearest known one when there is a near one. */
export function unknownKey(key: string, known: readonly string[]): string {
  const near = nearest(key, known)
  return near === undefined
    ? `unknown key ${quoted(key)}`
    : `unknown key ${quoted(key)}, did you mean '${near}'?`
}

/** `file:line:column: message`, the form editors and CI logs make clickable. */
export function problemText({ file, line, column, message }: FileProblem): string {
  return `${file}:${line}:${column}: ${message}`
}

function pathText(path: readonly PropertyKey[]): string {
  return path.length === 0 ? '' : `${path.map(String).join('.')}: `
}

/** Where the value at this path begins; for a missing value, where the nearest thing around it begins. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  for (let length = path.length; length >= 0; length--) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true)
    const range = (node as Node | undefined | null)?.range
    if (range) return range[0]
  }
  return 0
}

function offsetOfKey(document: Document, path: readonly PropertyKey[], key: string): number {
  const map = path.length === 0 ? document.contents : document.getIn(path, true)
  if (!isMap(map)) return offsetOf(document, path)
  const pair = map.items.find((item) => String((item.key as { value?: unknown } | null)?.value) === key)
  return (pair?.key as Node | undefined)?.range?.[0] ?? offsetOf(document, path)
}

type Definition = {
  type: string
  shape?: Record<string, z.ZodType>
  element?: z.ZodType
  innerType?: z.ZodType
}

/** Walks the schema as the path walks the value, through arrays and through optional and default wrappers. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const definition = schema.def as Definition
  if (definition.innerType !== undefined) return knownKeys(definition.innerType, path)
  const [first, ...rest] = path
  if (first === undefined) return Object.keys(definition.shape ?? {})
  const inner = definition.element ?? definition.shape?.[String(first)]
  return inner === undefined ? [] : knownKeys(inner, rest)
}
