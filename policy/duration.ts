const shape = /^(\d{1,9})(ms|s|m|h|d)$/

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** A duration as policies write it (`500ms`, `10s`, `5m`, `1h`, `7d`) in milliseconds, or undefined. */
export function parseDurationMs(text: string): number | undefined {
  const found = shape.exec(text)
  if (found === null) return undefined
  return Number(found[1]) * unitMs[found[2] as keyof typeof unitMs]
}

/** The same of a text that the schema has let through. */
export function durationMs(text: string): number {
  const ms = parseDurationMs(text)
  if (ms === undefined) throw new Error(`a duration passed the schema and is none: ${text}`)
  return ms
}
