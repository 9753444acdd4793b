import { canonicalJson } from '../policy/digest.ts'

/**
 * The same text as `canonicalJson` (RFC 8785), and many times faster where all keys are in order already: that is what
 * JSON.stringify writes then.
 */
export function canonicalText(value: object): string {
  if (!isInOrder(value)) return canonicalJson(value)
  const text = JSON.stringify(value)
  // Perhaps a lone surrogate: whether it is one is not judged here.
  return text.includes('\\ud') ? canonicalJson(value) : text
}

/** Whether all keys in the value are in the order of RFC 8785, and nothing in it is what JSON cannot say. */
export function isInOrder(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object') return typeof value === 'string' || typeof value === 'boolean'
  if (value === null) return true
  if (Array.isArray(value)) {
    for (const item of value) if (!isInOrder(item)) return false
    return true
  }
  let before = ''
  for (const key in value) {
    if (key < before) return false
    before = key
    const item: unknown = (value as Record<string, unknown>)[key]
    if (item !== undefined && !isInOrder(item)) return false
  }
  return true
}
