import { quoted, type Problem, type ProblemCode } from './problem.ts'

/**
 * The slow, exact reader behind `parseJson`: walks JSON text by the grammar and returns the first thing that is wrong with
 * it (with line and column), or undefined. It never builds the value, so it cannot disagree with `JSON.parse` about one.
 * The text must already be known to nest no deeper than the caller's stack allows.
 */
export function findJsonProblem(text: string): Problem | undefined {
  const reader = new JsonReader(text)
  try {
    reader.document()
    return undefined
  } catch (caught) {
    if (caught instanceof Found) return caught.problem
    throw caught
  }
}

/** Carries a problem out of the recursion; it never leaves this file. */
class Found extends Error {
  readonly problem: Problem
  constructor(problem: Problem) {
    super(problem.message)
    this.problem = problem
  }
}

const numberShape = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y
const simpleEscapes = '"\\/bfnrt'

class JsonReader {
  private readonly text: string
  private index = 0

  constructor(text: string) {
    this.text = text
  }

  document(): void {
    this.space()
    this.value()
    this.space()
    if (this.index < this.text.length)
      this.fail('json-syntax', 'there is more after the end of the JSON value')
  }

  private value(): void {
    const character = this.text[this.index]
    if (character === '{') this.object()
    else if (character === '[') this.array()
    else if (character === '"') this.string()
    else if (character === '-' || isDigit(character)) this.number()
    else if (!this.word('true') && !this.word('false') && !this.word('null')) {
      this.fail(
        'json-syntax',
        character === undefined ? 'the JSON ends too early' : 'a JSON value is expected here',
      )
    }
  }

  private object(): void {
    const keys = new Set<string>()
    this.index++
    this.space()
    if (this.take('}')) return
    for (;;) {
      const start = this.index
      if (this.text[start] !== '"') this.fail('json-syntax', 'a key in double quotes is expected here')
      const key = this.string()
      if (keys.has(key)) {
        this.index = start
        this.fail('json-duplicate-key', `the key ${quoted(key)} stands twice in the same object`)
      }
      keys.add(key)
      this.space()
      if (!this.take(':')) this.fail('json-syntax', 'a ":" is expected after a key')
      this.space()
      this.value()
      this.space()
      if (this.take('}')) return
      if (!this.take(',')) this.fail('json-syntax', 'a "," or "}" is expected here')
      this.space()
    }
  }

  private array(): void {
    this.index++
    this.space()
    if (this.take(']')) return
    for (;;) {
      this.value()
      this.space()
      if (this.take(']')) return
      if (!this.take(',')) this.fail('json-syntax', 'a "," or "]" is expected here')
      this.space()
    }
  }

  private string(): string {
    const start = this.index++
    let units = ''
    let plain = this.index
    for (;;) {
      const character = this.text[this.index]
      if (character === undefined) this.fail('json-syntax', 'a string is not closed')
      if (character === '"') break
      if (character < ' ') this.fail('json-syntax', 'a control character stands unescaped in a string')
      if (character !== '\\') {
        this.index++
        continue
      }
      units += this.text.slice(plain, this.index) + this.escape()
      plain = this.index
    }
    units += this.text.slice(plain, this.index++)
    if (loneSurrogate.test(units)) {
      this.index = start
      this.fail('json-surrogate', 'a string has half of a surrogate pair (\\ud800 to \\udfff alone)')
    }
    return units
  }

  private escape(): string {
    const kind = this.text[this.index + 1] ?? ''
    if (kind === 'u') {
      const digits = this.text.slice(this.index + 2, this.index + 6)
      if (!/^[0-9a-fA-F]{4}$/.test(digits))
        this.fail('json-syntax', 'an escape \\u needs four hexadecimal digits')
      this.index += 6
      return String.fromCharCode(Number.parseInt(digits, 16))
    }
    if (kind === '' || !simpleEscapes.includes(kind))
      this.fail('json-syntax', 'a string has an escape that JSON does not know')
    this.index += 2
    return JSON.parse(`"\\${kind}"`) as string
  }

  private number(): void {
    numberShape.lastIndex = this.index
    const found = numberShape.exec(this.text)
    if (found === null) this.fail('json-syntax', 'a number is not written as JSON wants it')
    const [literal, fraction, exponent] = found
    const value = Number(literal)
    if (!Number.isFinite(value)) this.fail('json-number', 'a number is too large to be represented')
    if (fraction === undefined && exponent === undefined && !Number.isSafeInteger(value)) {
      this.fail('json-number', 'an integer is beyond 2^53 - 1; send it as a string')
    }
    this.index += literal.length
  }

  private word(word: string): boolean {
    if (!this.text.startsWith(word, this.index)) return false
    this.index += word.length
    return true
  }

  private take(character: string): boolean {
    if (this.text[this.index] !== character) return false
    this.index++
    return true
  }

  private space(): void {
    while (' \n\r\t'.includes(this.text[this.index] ?? 'x')) this.index++
  }

  private fail(code: ProblemCode, message: string): never {
    const before = this.text.slice(0, this.index)
    const line = before.split('\n').length
    const column = this.index - before.lastIndexOf('\n')
    throw new Found({ code, message: `${message} (line ${line}, column ${column})`, line, column })
  }
}

const loneSurrogate = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/

function isDigit(character: string | undefined): boolean {
  return character !== undefined && character >= '0' && character <= '9'
}
