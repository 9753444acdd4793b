/** A value of a nats-server configuration; variables are kept as `$NAME`, because where they come from is not ours to read. */
export type ConfValue = string | number | boolean | ConfValue[] | { [key: string]: ConfValue }

/** A parsed configuration, or where it stops making sense (line, from 1). */
export type ConfRead =
  | { ok: true; value: { [key: string]: ConfValue } }
  | { ok: false; line: number; message: string }

/**
 * Reads the text of a nats-server configuration: `key: value`, `key = value` or `key value`, maps, lists, comments with
 * `#` or `//`. `include` is not followed: what stands elsewhere would be believed without being looked at.
 */
export function readNatsConf(text: string): ConfRead {
  try {
    return { ok: true, value: mapOf({ tokens: tokensOf(text), at: 0 }, undefined) }
  } catch (error) {
    if (!(error instanceof ConfError)) throw error
    return { ok: false, line: error.line, message: error.message }
  }
}

class ConfError extends Error {
  readonly line: number
  constructor(line: number, message: string) {
    super(message)
    this.line = line
  }
}

type Token = { text: string; line: number; kind: 'mark' | 'quoted' | 'bare' }
type Reader = { readonly tokens: readonly Token[]; at: number }

const piece =
  /(\s+)|((?:#|\/\/)[^\n]*)|"((?:[^"\\]|\\.)*)"|'([^']*)'|([{}[\]:=,;])|((?:(?![{}[\]:=,;"'#\s])[^]|(?<=\S):(?=\S))+)/gy

function tokensOf(text: string): Token[] {
  const tokens: Token[] = []
  let line = 1
  let read = 0
  for (const [whole, , , double, single, mark, bare] of text.matchAll(piece)) {
    if (double !== undefined) tokens.push({ text: double.replace(/\\(.)/g, '$1'), line, kind: 'quoted' })
    else if (single !== undefined) tokens.push({ text: single, line, kind: 'quoted' })
    else if (mark !== undefined) tokens.push({ text: mark, line, kind: 'mark' })
    else if (bare !== undefined) tokens.push({ text: bare, line, kind: 'bare' })
    line += whole.split('\n').length - 1
    read += whole.length
  }
  // What cannot be read must not be passed over: it might be what matters.
  if (read < text.length) throw new ConfError(line, 'this cannot be read')
  return tokens
}

const isMark = (token: Token | undefined, ...marks: string[]): boolean =>
  token?.kind === 'mark' && marks.includes(token.text)

function mapOf(reader: Reader, end: string | undefined): { [key: string]: ConfValue } {
  const map = new Map<string, ConfValue>()
  for (;;) {
    const token = reader.tokens[reader.at++]
    if (isMark(token, ',', ';')) continue
    if (token === undefined) {
      if (end === undefined) return Object.fromEntries(map)
      throw new ConfError(lastLine(reader), `a "${end}" is missing`)
    }
    if (isMark(token, end ?? '')) return Object.fromEntries(map)
    if (token.kind === 'mark') throw new ConfError(token.line, `"${token.text}" stands where a name should`)
    if (token.text === 'include')
      throw new ConfError(token.line, 'include is not followed: name one whole file')
    // A colon may stand inside a value, so it takes a name to know that `name:value` is two things.
    const colon = token.kind === 'bare' ? token.text.indexOf(':') : -1
    const name = colon < 0 ? token.text : token.text.slice(0, colon)
    const glued = colon < 0 ? '' : token.text.slice(colon + 1)
    if (isMark(reader.tokens[reader.at], ':', '=')) reader.at++
    map.set(name, glued === '' ? valueOf(reader) : plain(glued))
  }
}

function valueOf(reader: Reader): ConfValue {
  const token = reader.tokens[reader.at++]
  if (token === undefined) throw new ConfError(lastLine(reader), 'a value is missing')
  if (isMark(token, '{')) return mapOf(reader, '}')
  if (isMark(token, '[')) return listOf(reader)
  if (token.kind === 'mark') throw new ConfError(token.line, `"${token.text}" stands where a value should`)
  if (token.kind === 'quoted') return token.text
  return plain(token.text)
}

function plain(text: string): ConfValue {
  if (/^(true|yes|on)$/i.test(text)) return true
  if (/^(false|no|off)$/i.test(text)) return false
  return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text
}

function listOf(reader: Reader): ConfValue[] {
  const list: ConfValue[] = []
  for (;;) {
    const token = reader.tokens[reader.at]
    if (token === undefined) throw new ConfError(lastLine(reader), 'a "]" is missing')
    if (isMark(token, ',')) {
      reader.at++
    } else if (isMark(token, ']')) {
      reader.at++
      return list
    } else {
      list.push(valueOf(reader))
    }
  }
}

function lastLine({ tokens }: Reader): number {
  return tokens.at(-1)?.line ?? 1
}
