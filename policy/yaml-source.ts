import {
  isMap,
  isScalar,
  LineCounter,
  parseDocument,
  visit,
  type Alias,
  type Document,
  type Node,
} from 'yaml'
import { quoted, type Problem, type ProblemCode } from './problem.ts'

/** A parsed YAML text: its plain value, and the way back from a path in the value to a line and column. */
export type YamlSource = { readonly value: unknown; readonly locate: Locate }
/** Line and column (from 1) of the value at a path, or of the key itself; the nearest parent if the place does not exist. */
export type Locate = (path: readonly PropertyKey[], at: 'key' | 'value') => { line: number; column: number }

type Place = (offset: number) => { line: number; column: number }

const yamlBytesMax = 64 * 1024 * 1024
const aliasesMax = 100

type ReadYaml = { ok: true; source: YamlSource } | { ok: false; problems: readonly Problem[] }

/** Reads YAML 1.2 strictly: one document, no key twice, no `__proto__`, and aliases that cannot grow into a bomb. */
export function readYaml(text: string): ReadYaml {
  if (text.length > yamlBytesMax) {
    return refused('policy-too-large', `the file is larger than ${yamlBytesMax} bytes`)
  }
  try {
    return read(text)
  } catch (caught) {
    // The parser recurses once per level: brackets without end exhaust the stack, which is the text's fault and not ours.
    if (caught instanceof RangeError) return refused('policy-syntax', 'lists and maps are nested too deeply')
    throw caught
  }
}

function refused(code: ProblemCode, message: string): ReadYaml {
  return { ok: false, problems: [{ code, message, line: 1, column: 1 }] }
}

function read(text: string): ReadYaml {
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: true,
    version: '1.2',
  })
  const place: Place = (offset) => {
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  }
  const problems: Problem[] = [...document.errors, ...document.warnings].map((error) => ({
    code: codeOf(error.code),
    message: messageOf(error.code, error.message),
    ...place(error.pos[0]),
  }))
  if (document.directives?.yaml.version !== '1.2') problems.unshift(otherVersion)
  const aliases: Alias[] = []
  if (problems.length === 0) problems.push(...nodeProblems(document, place, aliases))
  if (problems.length > 0) return { ok: false, problems }
  try {
    const value: unknown = document.toJS({ maxAliasCount: aliasesMax })
    return { ok: true, source: { value, locate: (path, at) => locate(document, path, at, place) } }
  } catch (caught) {
    if (caught instanceof RangeError) throw caught
    // After a clean parse and with every alias resolved, the only thing that is refused is what grows too far.
    const message = 'the aliases grow into too much; write out what they stand for'
    return { ok: false, problems: [{ code: 'policy-alias', message, ...place(aliases[0]?.range?.[0] ?? 0) }] }
  }
}

/** YAML 1.1 takes `yes` for true and `12:30` for a number: the same words would mean something else. */
const otherVersion: Problem = {
  code: 'policy-syntax',
  message: 'only YAML 1.2 is read; leave out the line that begins with %YAML',
  line: 1,
  column: 1,
}

function codeOf(code: string): ProblemCode {
  return code === 'DUPLICATE_KEY' ? 'policy-duplicate-key' : 'policy-syntax'
}

function messageOf(code: string, message: string): string {
  if (code === 'DUPLICATE_KEY') return 'this key stands twice in the same map'
  if (code === 'MULTIPLE_DOCS') return 'a second document begins here; a file is one document'
  return message.split('\n')[0] ?? message
}

/**
 * What would be lost or changed on the way to a plain value: keys that are not text, `__proto__`, halves of characters, and aliases
 * of nothing. Puts the aliases it meets into `aliases`.
 */
function nodeProblems(document: Document, place: Place, aliases: Alias[]): Problem[] {
  const problems: Problem[] = []
  visit(document, {
    Alias(_, alias) {
      aliases.push(alias)
      if (aliases.length > aliasesMax) {
        const message = `more than ${aliasesMax} aliases; write out what they stand for`
        problems.push({ code: 'policy-alias', message, ...place(alias.range?.[0] ?? 0) })
        return visit.BREAK
      }
      if (alias.resolve(document) !== undefined) return undefined
      const message = `nothing above is marked &${alias.source}, so *${alias.source} stands for nothing`
      problems.push({ code: 'policy-alias', message, ...place(alias.range?.[0] ?? 0) })
      return undefined
    },
    Pair(_, pair) {
      const key = pair.key
      if (isScalar(key) && typeof key.value === 'string' && key.value !== '__proto__') return
      const at = place((key as Node | null)?.range?.[0] ?? 0)
      const name = isScalar(key) ? quoted(String(key.value)) : 'a list, map or alias'
      const hint = isScalar(key) && key.value !== '__proto__' ? '; write it in quotes' : ''
      problems.push({ code: 'policy-unknown-key', message: `${name} cannot be a key${hint}`, ...at })
    },
    Scalar(_, { value, range }) {
      if (typeof value !== 'string' || !/\p{Surrogate}/u.test(value)) return
      const message = 'an escape stands for half a character (a lone surrogate), which no job can contain'
      problems.push({ code: 'policy-syntax', message, ...place(range?.[0] ?? 0) })
    },
  })
  return problems
}

function locate(
  document: Document,
  path: readonly PropertyKey[],
  at: 'key' | 'value',
  place: Place,
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
