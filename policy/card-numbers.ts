import type { CardIssuer } from './detectors.ts'

/** Where something was found: `[start, end)` in bytes. */
export type Span = { readonly start: number; readonly end: number }

const digitsMax = 19
const digitsMin = 13

/**
 * Payment card numbers in text (one character per byte): 13 to 19 digits, whole or in groups set apart by one space or hyphen,
 * with an issuer's prefix and length and a right check digit. Linear: each group of digits is looked at with at most 19 that follow.
 */
export function findCardNumbers(text: string, issuers: readonly CardIssuer[]): Span[] {
  const spans: Span[] = []
  const groups = digitGroups(text)
  for (let first = 0; first < groups.length; first++) {
    const span = cardFrom(text, groups, first, issuers)
    if (span === undefined) continue
    spans.push(span)
    while (first + 1 < groups.length && (groups[first + 1]?.start ?? Infinity) < span.end) first++
  }
  return spans
}

/** The longest card number that begins with this group, if any. */
function cardFrom(
  text: string,
  groups: readonly Span[],
  first: number,
  issuers: readonly CardIssuer[],
): Span | undefined {
  const start = groups[first]?.start ?? 0
  if (touches(text, start - 1, -1)) return undefined
  let digits = ''
  let found: Span | undefined
  for (let index = first; index < groups.length; index++) {
    const group = groups[index]
    const before = groups[index - 1]
    if (group === undefined || group.end - group.start + digits.length > digitsMax) break
    if (index > first && before !== undefined && !oneSeparator(text, before.end, group.start)) break
    digits += text.slice(group.start, group.end)
    if (digits.length < digitsMin || touches(text, group.end, 1)) continue
    if (isCardNumber(digits, issuers)) found = { start, end: group.end }
  }
  return found
}

function digitGroups(text: string): Span[] {
  return Array.from(text.matchAll(/[0-9]+/g), (found) => ({
    start: found.index,
    end: found.index + found[0].length,
  }))
}

function oneSeparator(text: string, from: number, to: number): boolean {
  return to - from === 1 && (text[from] === ' ' || text[from] === '-')
}

/** Is the number part of something longer on this side: a word, a hash, a fraction? An escaped line break (`\n`) is not a word. */
function touches(text: string, index: number, direction: 1 | -1): boolean {
  const neighbour = text[index] ?? ''
  if (neighbour === '.') return /[0-9]/.test(text[index + direction] ?? '')
  if (!/[A-Za-z0-9_]/.test(neighbour)) return false
  return !(direction === -1 && /[bfnrt]/.test(neighbour) && text[index - 1] === '\\')
}

function isCardNumber(digits: string, issuers: readonly CardIssuer[]): boolean {
  return checkDigitHolds(digits) && issuers.some((issuer) => issues(issuer, digits))
}

function issues(issuer: CardIssuer, digits: string): boolean {
  if (!issuer.lengths.includes(digits.length)) return false
  return issuer.prefixes.some(([low, high]) => {
    const prefix = Number(digits.slice(0, String(low).length))
    return prefix >= low && prefix <= high
  })
}

/** Luhn: from the right, every second digit doubled, the digits summed, a multiple of ten. */
function checkDigitHolds(digits: string): boolean {
  let sum = 0
  for (let place = 0; place < digits.length; place++) {
    const digit = digits.charCodeAt(digits.length - 1 - place) - 48
    const doubled = place % 2 === 1 ? digit * 2 : digit
    sum += doubled > 9 ? doubled - 9 : doubled
  }
  return sum % 10 === 0
}
