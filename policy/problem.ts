/**
 * Everything that can be wrong with text that people or agents hand us: a closed set, so that a caller can map
 * every code to an exit code or a status. Problems are values; nothing in this folder throws for bad input.
 */
export type ProblemCode =
  // JSON that an agent or a worker wrote
  | 'json-encoding'
  | 'json-syntax'
  | 'json-depth'
  | 'json-duplicate-key'
  | 'json-surrogate'
  | 'json-number'
  // YAML that an operator wrote
  | 'policy-too-large'
  | 'policy-empty'
  | 'policy-syntax'
  | 'policy-duplicate-key'
  | 'policy-alias'
  | 'policy-version'
  | 'policy-unknown-key'
  | 'policy-unknown-word'
  | 'policy-missing-key'
  | 'policy-wrong-type'
  | 'policy-wrong-value'
  | 'policy-duplicate-rule'
  | 'policy-reserved-rule'
  | 'policy-pattern'
  | 'policy-constraints'
  | 'policy-throttle'
  | 'policy-approval'
  | 'policy-overlay'
  // A policy that nobody could look at, or that is right and yet cannot come into force
  | 'policy-unreadable'
  | 'policy-not-kept'

/**
 * One thing that is wrong. `line` and `column` count from 1; `path` is the place in the document (`rules[2].decision`); `file`
 * is the name of the file, when one was given.
 */
export type Problem = {
  readonly code: ProblemCode
  readonly message: string
  readonly line?: number
  readonly column?: number
  readonly path?: string
  readonly file?: string
  readonly suggestion?: string
}

const echoCharsMax = 64

/** Text of unknown origin made fit to stand in a message: JSON-quoted, ASCII only, at most 64 characters of it. */
export function quoted(text: string): string {
  const short = text.length > echoCharsMax ? `${text.slice(0, echoCharsMax)}...` : text
  // Escaping all that is not printable ASCII keeps control characters and bidirectional marks out of terminals and logs.
  return JSON.stringify(short).replace(
    /[^\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
