import { randomUUID } from 'node:crypto'
import { scan } from '../policy/scan.ts'
import { visible } from './visible.ts'

/** A JSON value without what must not be seen and without what is too long to be read. */
type Shown = string | number | boolean | null | Shown[] | { [key: string]: Shown }

const linesMax = 40
const charactersMin = 40

/**
 * The payload as an approver may look at it: the agent's text, so nothing in it is obeyed, no secret of it is shown, long
 * values are folded with their size, and no address in it becomes a link. `apart` names what is shown elsewhere.
 */
export function payloadText(payload: unknown, columns: number, apart: readonly string[] = []): string[] {
  if (payload === null) return ['(no payload)']
  const top = typeof payload === 'object' && !Array.isArray(payload) ? { ...payload } : payload
  // Nobody can guess it, so no value of the agent's can pass for it.
  const mark = randomUUID()
  for (const key of apart) (top as Record<string, unknown>)[key] = mark
  const whole = JSON.stringify(shown(top, Math.max(charactersMin, columns)), null, 2)
  const lines = whole.replaceAll(`"${mark}"`, "(the agent's claim, below)").split('\n').map(hostileText)
  if (lines.length <= linesMax) return lines
  const bytes = Buffer.byteLength(JSON.stringify(payload))
  const rest = `... ${lines.length - linesMax} lines more, ${bytes} bytes in all (-o json shows everything)`
  return [...lines.slice(0, linesMax), rest]
}

/** One piece of a stranger's text, masked and folded to about `columns` characters. */
export function foldedText(text: string, columns: number): string {
  const masked = maskedText(text)
  if (masked.length <= columns) return masked
  return `${masked.slice(0, columns)}... (${Buffer.byteLength(text)} bytes)`
}

/** What is left of a text when the detectors of the output scan have gone over it. */
function maskedText(text: string): string {
  const bytes = Buffer.from(text)
  const { action, findings, output } = scan(bytes)
  switch (action) {
    case 'pass':
      return text
    case 'redact':
      return Buffer.from(output).toString()
    case 'quarantine':
      return `[kept back: ${findings.map(({ detector }) => detector).join(', ')}, ${bytes.length} bytes]`
  }
}

function shown(value: unknown, columns: number): Shown {
  if (typeof value === 'string') return foldedText(value, columns)
  // A card number may as well be a number.
  if (typeof value === 'number')
    return maskedText(String(value)) === String(value) ? value : maskedText(String(value))
  if (Array.isArray(value)) return value.map((one) => shown(one, columns))
  if (typeof value !== 'object' || value === null) return value as boolean | null
  const shownKeys = new Map<string, Shown>()
  for (const [key, one] of Object.entries(value)) {
    let name = foldedText(key, columns)
    // Two long names that begin alike must not hide one another.
    while (shownKeys.has(name)) name += "'"
    shownKeys.set(name, shown(one, columns))
  }
  return Object.fromEntries(shownKeys)
}

/** Terminals make links of what looks like one; the bar before the slashes is JSON for the same text. */
export function hostileText(text: string): string {
  return visible(text).replaceAll('://', String.raw`:\/\/`)
}
