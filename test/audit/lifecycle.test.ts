import { expect, test } from 'vitest'
import { advance, eventTypes, isTerminal, states, type EventName } from '../../audit/lifecycle.ts'

const events = Object.keys(eventTypes) as EventName[]

/** The table of the design, written a second time: what is not here must not exist. */
const allowed = new Set([
  'RECEIVED joined JOINED',
  'THROTTLED joined JOINED',
  'RECEIVED allowed DISPATCHED',
  'RECEIVED parked PARKED',
  'RECEIVED throttled THROTTLED',
  'RECEIVED denied DENIED',
  'THROTTLED allowed DISPATCHED',
  'THROTTLED approved DISPATCHED',
  'THROTTLED parked PARKED',
  'THROTTLED throttled THROTTLED',
  'THROTTLED denied DENIED',
  'THROTTLED expired EXPIRED',
  'THROTTLED cancelled CANCELLED',
  'PARKED approved DISPATCHED',
  'PARKED parked PARKED',
  'PARKED voted PARKED',
  'PARKED claimed PARKED',
  'PARKED reminded PARKED',
  'PARKED escalated PARKED',
  'PARKED throttled THROTTLED',
  'PARKED denied DENIED',
  'PARKED rejected REJECTED',
  'PARKED expired EXPIRED',
  'PARKED cancelled CANCELLED',
  'DISPATCHED retried DISPATCHED',
  'DISPATCHED succeeded SUCCEEDED',
  'DISPATCHED quarantined QUARANTINED',
  'DISPATCHED failed FAILED',
  'DISPATCHED timed_out TIMED_OUT',
  'DISPATCHED cancelled CANCELLED',
  'QUARANTINED expired EXPIRED',
  'QUARANTINED released SUCCEEDED',
  'QUARANTINED dropped DROPPED',
])

test('every state and event together give exactly the moves of the table', () => {
  const found = states.flatMap((from) =>
    events.flatMap((event) => {
      const to = advance(from, event)
      return to === undefined ? [] : [`${from} ${event} ${to}`]
    }),
  )
  expect(new Set(found)).toEqual(allowed)
})

test('only allowed, approved and retried lead to a dispatch', () => {
  const leading = events.filter((event) => states.some((from) => advance(from, event) === 'DISPATCHED'))
  expect(leading.toSorted()).toEqual(['allowed', 'approved', 'retried'])
})

test('from every state there is a way to an end', () => {
  const ends = (from: (typeof states)[number], seen: readonly string[] = []): boolean =>
    isTerminal(from) ||
    events.some((event) => {
      const to = advance(from, event)
      return to !== undefined && !seen.includes(to) && ends(to, [...seen, from])
    })
  expect(states.filter((state) => !ends(state))).toEqual([])
})
