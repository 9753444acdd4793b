import { isMap, isScalar, LineCounter, parseDocument, visit, type Document, type Node } from 'yaml'
import { quoted, type Problem, type ProblemCode } from './problem.ts'

/** A parsed YAML text: its plain value, and the way back from a path in the value to a line and column. */
export type YamlSource = { readonly value: unknown; readonly locate: Locate }
/** Line and column (from 1) of the value at a path, or of the key itself; the nearest parent if the place does not exist. */
export type Locate = (path: readonly PropertyKey[], at: 'key' | 'value') => { line: number; column: number }

const yamlBytesMax = 64 * 1024 * 1024
const aliasesMax = 100

/** Reads YAML 1.2 strictly: one document, no key twice, no `__proto__`, and aliases that cannot grow into a bomb. */
export function readYaml(
  text: string,
): { ok: true; source: YamlSource } | { ok: false; problems: readonly Problem[] } {
  if (text.length > yamlBytesMax) {
    return {
      ok: false,
      problems: [{ code: 'policy-too-large', message: `the file is larger than ${yamlBytesMax} bytes` }],
    }
  }
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: true,
    version: '1.2',
  })
  const place = (offset: number): { line: number; column: number } => {
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  }
  const problems: Problem[] = [...document.errors, ...document.warnings].map((error) => ({
    code: codeOf(error.code),
    message: firstLine(error.message),
    ...place(error.pos[0]),
  }))
  if (problems.length === 0) problems.push(...keyProblems(document, place))
  if (problems.length > 0) return { ok: false, problems }
  try {
    const value: unknown = document.toJS({ maxAliasCount: aliasesMax })
    return { ok: true, source: { value, locate: (path, at) => locate(document, path, at, place) } }
  } catch (caught) {
    // The only thing toJS refuses after a clean parse is an alias: one too many, or one without an anchor.
    const message = caught instanceof Error ? firstLine(caught.message) : 'the aliases cannot be resolved'
    return { ok: false, problems: [{ code: 'policy-alias', message, ...place(0) }] }
  }
}

function codeOf(code: string): ProblemCode {
  return code === 'DUPLICATE_KEY' ? 'policy-duplicate-key' : 'policy-syntax'
}

function firstLine(message: string): string {
  return message.split('\n')[0] ?? message
}

/** Keys that would be lost or changed on the way to a plain value: anything but text, and `__proto__`. */
function keyProblems(
  document: Document,
  place: (offset: number) => { line: number; column: number },
): Problem[] {
  const problems: Problem[] = []
  visit(document, {
    Pair(_, pair) {
      const key = pair.key
      if (isScalar(key) && typeof key.value === 'string' && key.value !== '__proto__') return
      const at = place((key as Node | null)?.range?.[0] ?? 0)
      const name = isScalar(key) ? quoted(String(key.value)) : 'a list or map'
      problems.push({
        code: 'policy-unknown-key',
        message: `${name} cannot be a key; a key must be plain text`,
        ...at,
      })
    },
  })
  return problems
}

function locate(
  document: Document,
  path: readonly PropertyKey[],
  at: 'key' | 'value',
  place: (offset: number) => { line: number; column: number },
): { line: number; column: number } {
  for (let length = path.length; length > 0; length--) {
    const parent = document.getIn(path.slice(0, length - 1), true) as Node | undefined
    const name = path[length - 1]
    if (isMap(parent)) {
      const pair = parent.items.find((item) => isScalar(item.key) && item.key.value === name)
      const value = pair?.value as Node | null | undefined
      const node =
        at === 'key' && length === path.length
          ? (pair?.key as Node | undefined)
          : (value ?? (pair?.key as Node | undefined))
      if (node?.range) return place(node.range[0])
    } else {
      const node = document.getIn(path.slice(0, length), true) as Node | undefined
      if (node?.range) return place(node.range[0])
    }
  }
  return place(document.contents?.range?.[0] ?? 0)
}
