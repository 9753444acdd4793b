import fc from 'fast-check'
import { expect, it } from 'vitest'
import { reserve } from '../../policy/throttle.ts'

it('grants at once while there is room, and then when the oldest grant leaves the window', () => {
  let grants: number[] = []
  const times: number[] = []
  for (const nowMs of [0, 10, 20, 30]) {
    const slot = reserve(grants, 2, 100, nowMs, 1_000)
    if (!('grants' in slot)) throw new Error('refused')
    grants = slot.grants
    times.push(slot.grantedAtMs)
  }
  expect(times).toEqual([0, 10, 100, 110])
})

it('refuses a slot beyond the longest wait, reserves nothing, and says until when', () => {
  const grants = [0, 50]
  expect(reserve(grants, 2, 1_000, 60, 100)).toEqual({ fullUntilMs: 900 })
  expect(grants).toEqual([0, 50])
  expect(reserve(grants, 2, 1_000, 900, 100)).toEqual({ grantedAtMs: 1_000, grants: [50, 1_000] })
})

it('spreads grants when the burst is below the rate', () => {
  let grants: number[] = []
  const times: number[] = []
  for (let count = 0; count < 6; count++) {
    const slot = reserve(grants, 4, 100, 0, 1_000, 2)
    if (!('grants' in slot)) throw new Error('refused')
    grants = slot.grants
    times.push(slot.grantedAtMs)
  }
  expect(times).toEqual([0, 0, 50, 50, 100, 100])
})

it('never has more than the rate in any window, whatever the clock does', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 50 }),
      fc.integer({ min: 0, max: 200 }),
      fc.array(fc.integer({ min: -20, max: 60 }), { maxLength: 60 }),
      (rate, perMs, maxWaitMs, steps) => {
        let nowMs = 1_000
        let grants: number[] = []
        const all: number[] = []
        for (const step of steps) {
          nowMs += step
          const slot = reserve(grants, rate, perMs, nowMs, maxWaitMs)
          if ('fullUntilMs' in slot) {
            expect(slot.fullUntilMs).toBeGreaterThan(nowMs)
            continue
          }
          expect(slot.grantedAtMs).toBeGreaterThanOrEqual(nowMs)
          expect(slot.grantedAtMs).toBeLessThanOrEqual(nowMs + maxWaitMs)
          expect(slot.grants.length).toBeLessThanOrEqual(rate)
          grants = slot.grants
          all.push(slot.grantedAtMs)
        }
        for (const [index, time] of all.entries()) {
          const before = all[index - rate]
          if (before !== undefined) expect(time - before).toBeGreaterThanOrEqual(perMs)
        }
      },
    ),
  )
})
