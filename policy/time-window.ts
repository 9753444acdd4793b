import { canonicalJson, shortHash } from './digest.ts'

export const dayNames = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const
export type DayName = (typeof dayNames)[number]

/**
 * Hours on days in a named zone: from `fromMinute` to before `toMinute` of the local day. A window that ends before it begins
 * runs over midnight and belongs to the day on which it began. `id` names it in records, which hold its truth value.
 */
export type TimeWindow = {
  readonly id: string
  readonly zone: string
  readonly days: readonly DayName[]
  readonly fromMinute: number
  readonly toMinute: number
}

export function timeWindow(parts: Omit<TimeWindow, 'id'>): TimeWindow {
  return { id: `t-${shortHash(canonicalJson(parts))}`, ...parts }
}

/** Minutes of a day from `HH:MM` (00:00 to 24:00), or undefined. */
export function parseMinutes(text: string): number | undefined {
  const found = /^([01][0-9]|2[0-4]):([0-5][0-9])$/.exec(text)
  if (found === null) return undefined
  const minutes = Number(found[1]) * 60 + Number(found[2])
  return minutes <= minutesPerDay ? minutes : undefined
}

/** Is this a zone of the IANA database (`Europe/Berlin`, `UTC`)? Offsets are not: they do not know summer time. */
export function isZone(zone: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/.test(zone)) return false
  try {
    clockOf(zone)
    return true
  } catch {
    return false
  }
}

const minutesPerDay = 1_440

export function windowHolds(window: TimeWindow, nowMs: number): boolean {
  const { day, minute } = localTime(window.zone, nowMs)
  const { fromMinute, toMinute } = window
  if (fromMinute < toMinute) return minute >= fromMinute && minute < toMinute && has(window, day)
  // Over midnight: the evening belongs to today, the small hours to the window that began yesterday.
  if (minute >= fromMinute) return has(window, day)
  return minute < toMinute && has(window, (day + 6) % 7)
}

function has(window: TimeWindow, day: number): boolean {
  const name = dayNames[day]
  return name !== undefined && window.days.includes(name)
}

type LocalTime = { readonly day: number; readonly minute: number }

function localTime(zone: string, nowMs: number): LocalTime {
  const epochMinute = Math.floor(nowMs / 60_000)
  const clock = clockOf(zone)
  // Zones differ by whole minutes nowadays, so within one minute the answer cannot change.
  if (clock.epochMinute !== epochMinute) {
    clock.time = read(clock.formatter, epochMinute * 60_000)
    clock.epochMinute = epochMinute
  }
  return clock.time
}

function read(formatter: Intl.DateTimeFormat, nowMs: number): LocalTime {
  let day = 0
  let minute = 0
  for (const { type, value } of formatter.formatToParts(nowMs)) {
    if (type === 'weekday') day = dayNames.indexOf(value.slice(0, 3).toLowerCase() as DayName)
    if (type === 'hour') minute += Number(value) * 60
    if (type === 'minute') minute += Number(value)
  }
  return { day, minute }
}

type Clock = { readonly formatter: Intl.DateTimeFormat; epochMinute: number; time: LocalTime }

/** Making a formatter costs a thousand times more than using it. The zones are those of loaded policies, so they are few. */
const clocks = new Map<string, Clock>()
const clocksMax = 1_000

function clockOf(zone: string): Clock {
  const known = clocks.get(zone)
  if (known !== undefined) return known
  const formatter = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  })
  const made = { formatter, epochMinute: NaN, time: { day: 0, minute: 0 } }
  if (clocks.size >= clocksMax) clocks.clear()
  clocks.set(zone, made)
  return made
}
