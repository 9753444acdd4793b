/** So many at once and so many a second, for each of many keys. */
export type Allowance = {
  /** Takes one: 0, or in how many milliseconds there is one again. */
  take(key: string): number
}

export type AllowanceLimits = { readonly perSec: number; readonly burst: number; readonly keysMax: number }

/** `nowMs` is any clock that never goes back. Of too many keys the one that asked longest ago begins anew. */
export function createAllowance(limits: AllowanceLimits, nowMs: () => number): Allowance {
  const { perSec, burst, keysMax } = limits
  const left = new Map<string, { readonly tokens: number; readonly atMs: number }>()
  return {
    take: (key) => {
      const atMs = nowMs()
      const before = left.get(key) ?? { tokens: burst, atMs }
      const tokens = Math.min(burst, before.tokens + ((atMs - before.atMs) * perSec) / 1_000)
      left.delete(key)
      left.set(key, { tokens: tokens >= 1 ? tokens - 1 : tokens, atMs })
      if (left.size > keysMax) left.delete(left.keys().next().value ?? key)
      return tokens >= 1 ? 0 : Math.ceil(((1 - tokens) * 1_000) / perSec)
    },
  }
}
