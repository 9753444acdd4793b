import { windowHolds, type TimeWindow } from './time-window.ts'

export type Wanted = { readonly window: TimeWindow; readonly holds: boolean }

/** Monday 5 January 2026, 12:00 UTC: the moment of jobs about which no rule asks the time. */
export const usualMs = Date.UTC(2026, 0, 5, 12)

const hourMs = 3_600_000
const dayMs = 24 * hourMs

/**
 * A moment at which every window comes out as wanted; `unsure` where none was found though there may be one. Windows of one
 * zone are a matter of one local week, which is looked at minute by minute where a window begins or ends. Zones differ from
 * each other by other amounts in summer and winter, so with several of them a whole year is looked at.
 */
export function sampleTime(wanted: readonly Wanted[]): number | 'none' | 'unsure' {
  const fits = (nowMs: number): boolean =>
    wanted.every(({ window, holds }) => windowHolds(window, nowMs) === holds)
  if (fits(usualMs)) return usualMs
  const zones = new Set(wanted.map(({ window }) => window.zone)).size
  for (const nowMs of moments(wanted, zones === 1 ? 8 : 366)) if (fits(nowMs)) return nowMs
  return zones === 1 ? 'none' : 'unsure'
}

/** Every quarter hour of the year if there are few days to look at, and the minutes at which a window changes. */
function* moments(wanted: readonly Wanted[], days: number): Generator<number> {
  const minutes = new Set<number>()
  for (const { window } of wanted) {
    for (const minute of [window.fromMinute, window.toMinute]) {
      for (const shift of [0, -1, 1]) minutes.add((((minute + shift) % 60) + 60) % 60)
    }
  }
  const fromMs = usualMs - 12 * hourMs
  // Offsets of zones are multiples of a quarter hour, so these are the minutes at which any local hour changes.
  const quarter = [0, 15, 30, 45].flatMap((offset) => [...minutes].map((minute) => (minute + offset) % 60))
  const within = [...new Set(quarter)]
  for (let day = 0; day < days; day++) {
    for (let hour = 0; hour < 24; hour++) {
      for (const minute of within) yield fromMs + day * dayMs + hour * hourMs + minute * 60_000
    }
  }
}
