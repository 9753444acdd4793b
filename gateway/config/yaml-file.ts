import { type z } from 'zod'

import { problemsOfIssue } from '../../policy/schema-problem.ts'
import { readYaml } from '../../policy/yaml-source.ts'

/** One thing wrong with a file: where it is (both counted from 1) and what to do about it. */
export type FileProblem = { file: string; line: number; column: number; message: string }

/** A checked file with the way back from a path in it to its line, or everything that is wrong with it. */
export type FileResult<Value> =
  | { ok: true; value: Value; lineOf: (path: readonly PropertyKey[]) => number }
  | { ok: false; problems: FileProblem[] }

/**
 * Checks YAML text against a schema, as strictly as a policy: a key twice or one that nobody knows is a problem with a
 * line, a column and the key that was probably meant.
 */
export function checkYaml<Schema extends z.ZodType>(
  file: string,
  text: string,
  schema: Schema,
): FileResult<z.output<Schema>> {
  const read = readYaml(text)
  if (!read.ok) {
    const problems = read.problems.map(({ line = 1, column = 1, message }) => ({
      file,
      line,
      column,
      message,
    }))
    return { ok: false, problems }
  }
  const { locate } = read.source
  // An empty file says nothing, which is an empty map.
  const value = read.source.value ?? {}
  const parsed = schema.safeParse(value)
  if (parsed.success) return { ok: true, value: parsed.data, lineOf: (path) => locate(path, 'key').line }
  const problems = parsed.error.issues
    .flatMap((issue) => problemsOfIssue(issue, (path) => knownKeys(schema, path), locate, value))
    .map(({ line = 1, column = 1, message }) => ({ file, line, column, message }))
  return { ok: false, problems }
}

/** `file:line:column: message`, the form editors and CI logs make clickable. */
export function problemText({ file, line, column, message }: FileProblem): string {
  return `${file}:${line}:${column}: ${message}`
}

type Definition = { shape?: Record<string, z.ZodType>; element?: z.ZodType; innerType?: z.ZodType }

/** Walks the schema as the path walks the value, through arrays and optional and default wrappers. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const definition = schema.def as Definition
  if (definition.innerType !== undefined) return knownKeys(definition.innerType, path)
  const [first, ...rest] = path
  if (first === undefined) return Object.keys(definition.shape ?? {})
  const inner = definition.element ?? definition.shape?.[String(first)]
  return inner === undefined ? [] : knownKeys(inner, rest)
}
