/** Chance that can be had again: the same seed gives the same numbers. */
export type Chance = {
  readonly seed: number
  /** From 0 up to, not including, 1. */
  next(): number
  /** A whole number from `least` to `most`, both included. */
  between(least: number, most: number): number
}

/** `SLUICE_TEST_SEED` repeats a run, as far as a run with real processes can be repeated. */
export function chance(seed = Number(process.env['SLUICE_TEST_SEED'] ?? Date.now() % 1_000_000)): Chance {
  let state = seed
  // mulberry32: small, and good enough to choose whom to kill.
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  return { seed, next, between: (least, most) => least + Math.floor(next() * (most - least + 1)) }
}
