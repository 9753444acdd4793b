import { describe, expect, it } from 'vitest'
import { isZone, parseMinutes, timeWindow, windowHolds } from '../../policy/time-window.ts'

const at = (text: string) => Date.parse(text)

describe('a time window', () => {
  const office = timeWindow({
    zone: 'Europe/Berlin',
    days: ['fri', 'mon'],
    fromMinute: 9 * 60,
    toMinute: 17 * 60,
  })

  it.each([
    ['2026-01-05T07:59:59Z', false, 'a Monday before nine in winter'],
    ['2026-01-05T08:00:00Z', true, 'nine in winter'],
    ['2026-07-06T07:00:00Z', true, 'nine in summer'],
    ['2026-07-06T14:59:59Z', true, 'a second before five in summer'],
    ['2026-07-06T15:00:00Z', false, 'five in summer'],
    ['2026-07-07T08:00:00Z', false, 'a Tuesday'],
  ])('%s is %s: %s', (time, open) => {
    expect(windowHolds(office, at(time))).toBe(open)
  })

  it('over midnight belongs to the day on which it began', () => {
    const night = timeWindow({ zone: 'UTC', days: ['sat'], fromMinute: 22 * 60, toMinute: 6 * 60 })
    expect(windowHolds(night, at('2026-11-21T23:00:00Z'))).toBe(true)
    expect(windowHolds(night, at('2026-11-22T05:59:00Z'))).toBe(true)
    expect(windowHolds(night, at('2026-11-22T06:00:00Z'))).toBe(false)
    expect(windowHolds(night, at('2026-11-21T05:00:00Z'))).toBe(false)
    expect(windowHolds(night, at('2026-11-22T22:30:00Z'))).toBe(false)
  })

  it('has an id of its meaning', () => {
    const { id: _id, ...parts } = office
    expect(timeWindow(parts).id).toBe(office.id)
    expect(timeWindow({ ...parts, zone: 'UTC' }).id).not.toBe(office.id)
  })
})

it.each(['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires'])('%s is a zone', (zone) => {
  expect(isZone(zone)).toBe(true)
})

it.each(['', 'Europe/Berln', '+02:00', 'UTC; DROP', 'x'.repeat(100)])('%j is not a zone', (zone) => {
  expect(isZone(zone)).toBe(false)
})

it('reads times of day from 00:00 to 24:00', () => {
  expect(['00:00', '09:30', '23:59', '24:00'].map(parseMinutes)).toEqual([0, 570, 1_439, 1_440])
  for (const text of ['24:01', '25:00', '9:30', '09:60', '', '09:30 '])
    expect(parseMinutes(text)).toBeUndefined()
})
