/** Either a slot (perhaps in the future) and the grants that must be kept, or the time until which no slot can be had. */
export type Reservation =
  | { readonly grantedAtMs: number; readonly grants: number[] }
  | { readonly fullUntilMs: number }

/**
 * An exact sliding window by reservation: never more than `rate` grants in any span of `perMs`. `grants` are the newest grant
 * times, oldest first (at most `rate` are needed and kept). The next slot is free when the grant `rate` places back has left
 * the window. With a `burst` below the rate, grants are spread as well: never more than `burst` in its share of the window.
 * A slot later than `nowMs + maxWaitMs` is refused and nothing is reserved.
 */
export function reserve(
  grants: readonly number[],
  rate: number,
  perMs: number,
  nowMs: number,
  maxWaitMs: number,
  burst: number = rate,
): Reservation {
  const blocking = grants[grants.length - rate] ?? -Infinity
  const spreading = grants[grants.length - burst] ?? -Infinity
  const newest = grants[grants.length - 1] ?? -Infinity
  // Never before the newest grant: a clock that stepped back must not shuffle the window.
  const grantedAtMs = Math.max(nowMs, newest, blocking + perMs, spreading + Math.ceil((perMs * burst) / rate))
  if (grantedAtMs > nowMs + maxWaitMs) return { fullUntilMs: grantedAtMs - maxWaitMs }
  return { grantedAtMs, grants: [...grants.slice(Math.max(0, grants.length - rate + 1)), grantedAtMs] }
}
