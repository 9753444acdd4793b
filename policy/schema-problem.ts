import type { core } from 'zod'
import { quoted, type Problem, type ProblemCode } from './problem.ts'
import { nearest } from './suggest.ts'
import type { Locate } from './yaml-source.ts'

type Issue = core.$ZodIssue

/** What zod found, said for the person who wrote the file: where it is, what is wrong, what was probably meant. */
export function problemsOfIssue(
  issue: Issue,
  keysAt: (path: readonly PropertyKey[]) => readonly string[],
  locate: Locate,
  value: unknown,
): Problem[] {
  const path = issue.path
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => unknownKey(path, key, keysAt(path), locate))
  }
  if (issue.code === 'invalid_union')
    return issue.errors.flatMap((errors) => errors).length === 0
      ? []
      : unionProblems(issue, keysAt, locate, value)
  if (issue.code === 'invalid_key') {
    const name = String(path[path.length - 1])
    const message = `the key ${quoted(name)} ${issue.issues[0]?.message ?? 'is not allowed here'}`
    return [{ code: 'policy-wrong-value', message, path: written(path), ...locate(path, 'key') }]
  }
  const found = valueAt(value, path)
  if (found === undefined && path.length > 0) {
    const name = String(path[path.length - 1])
    const at = locate(path.slice(0, -1), 'value')
    return [{ code: 'policy-missing-key', message: `${quoted(name)} is missing`, path: written(path), ...at }]
  }
  const at = locate(path, 'value')
  if (issue.code === 'invalid_value' && typeof found === 'string' && issue.values.length > 1) {
    const words = issue.values.map(String)
    const meant = nearest(found, words)
    const message = `${quoted(found)} is not one of ${words.join(', ')}${didYouMean(meant)}`
    return [{ code: 'policy-unknown-word', message, path: written(path), ...at, ...suggestion(meant) }]
  }
  const message = `${subject(path, found)} ${issue.message}`
  return [{ code: codeOf(issue, path), message, path: written(path), ...at }]
}

/** `rules[2].match.topics[0]`, as a person would say where. */
export function written(path: readonly PropertyKey[]): string {
  return path
    .map((part, index) => (typeof part === 'number' ? `[${part}]` : `${index > 0 ? '.' : ''}${String(part)}`))
    .join('')
}

function unknownKey(
  path: readonly PropertyKey[],
  key: string,
  known: readonly string[],
  locate: Locate,
): Problem {
  const constraint = path[path.length - 1] === 'constraints'
  const meant = nearest(key, known)
  const message = constraint ? `nobody enforces a constraint ${quoted(key)}` : `unknown key ${quoted(key)}`
  return {
    code: constraint ? 'policy-constraints' : 'policy-unknown-key',
    message: `${message}${didYouMean(meant)}`,
    path: written([...path, key]),
    ...locate([...path, key], 'key'),
    ...suggestion(meant),
  }
}

/**
 * Of a union's branches, the one meant is the one that fits the value's kind best: it complains deepest, or least. Where the value
 * fits none, a union that can say what it takes says so.
 */
function unionProblems(
  issue: Issue & { code: 'invalid_union' },
  keysAt: (path: readonly PropertyKey[]) => readonly string[],
  locate: Locate,
  value: unknown,
): Problem[] {
  const wrongKind = (errors: readonly Issue[]): boolean =>
    errors.some(
      (error) =>
        error.path.length === 0 &&
        (error.code === 'invalid_type' || (error.code === 'invalid_union' && error.errors.every(wrongKind))),
    )
  const fitting = issue.errors.find((errors) => !wrongKind(errors))
  if (fitting === undefined && issue.message !== 'Invalid input') {
    const message = `${subject(issue.path, valueAt(value, issue.path))} ${issue.message}`
    return [{ code: 'policy-wrong-type', message, path: written(issue.path), ...locate(issue.path, 'value') }]
  }
  const branch = fitting ?? issue.errors[issue.errors.length - 1] ?? []
  return branch.flatMap((error) =>
    problemsOfIssue({ ...error, path: [...issue.path, ...error.path] }, keysAt, locate, value),
  )
}

function codeOf(issue: Issue, path: readonly PropertyKey[]): ProblemCode {
  if (issue.code === 'custom' && issue.params?.['problem'] === 'policy-pattern') return 'policy-pattern'
  if (path.length === 1 && path[0] === 'version') return 'policy-version'
  return issue.code === 'invalid_type' ? 'policy-wrong-type' : 'policy-wrong-value'
}

function subject(path: readonly PropertyKey[], found: unknown): string {
  if (path.length === 0) return 'the file'
  const scalar = typeof found === 'string' || typeof found === 'number' || typeof found === 'boolean'
  return scalar ? `${written(path)}: ${quoted(String(found))}` : written(path)
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value
  for (const part of path)
    at = typeof at === 'object' && at !== null ? (at as Record<PropertyKey, unknown>)[part] : undefined
  return at
}

function didYouMean(meant: string | undefined): string {
  return meant === undefined ? '' : `; did you mean ${quoted(meant)}?`
}

function suggestion(meant: string | undefined): { suggestion?: string } {
  return meant === undefined ? {} : { suggestion: meant }
}
