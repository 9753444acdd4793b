import { expect, test } from 'vitest'
import { covers, heldMs, stopFor, type Stop, type StopScope } from '../../policy/stop.ts'

const job = { tenant: 'acme', agent: 'bot', topic: 'job.a.b' }
const stop = (scope: StopScope, more: Partial<Stop> = {}): Stop => ({
  id: 's',
  scope,
  by: 'ann',
  reason: 'x',
  at_ms: 100,
  ...more,
})

test.each([
  [{ kind: 'all' }, true],
  [{ kind: 'tenant', tenant: 'acme' }, true],
  [{ kind: 'tenant', tenant: 'other' }, false],
  [{ kind: 'agent', tenant: 'acme', agent: 'bot' }, true],
  [{ kind: 'agent', tenant: 'other', agent: 'bot' }, false],
  [{ kind: 'topic', pattern: 'job.a.*' }, true],
  [{ kind: 'topic', pattern: 'job.*' }, false],
] as const)('%j covers the job: %s', (scope, wanted) => {
  expect(covers(scope, job)).toBe(wanted)
})

test('draining lets go on what was accepted, and only resuming lets new jobs in', () => {
  const all: StopScope = { kind: 'all' }
  const held = (more: Partial<Stop>): [boolean, boolean] => [
    stopFor([stop(all, more)], job, false) !== undefined,
    stopFor([stop(all, more)], job, true) !== undefined,
  ]
  expect(held({})).toEqual([true, true])
  expect(held({ draining_at_ms: 200 })).toEqual([false, true])
  expect(held({ draining_at_ms: 200, resumed_at_ms: 300 })).toEqual([false, false])
})

test('waiting time stands still while stops hold, and overlapping stops count once', () => {
  const all: StopScope = { kind: 'all' }
  const other: StopScope = { kind: 'tenant', tenant: 'other' }
  const stops = [
    stop(all, { at_ms: 100, draining_at_ms: 200 }),
    stop(all, { at_ms: 150, draining_at_ms: 250, resumed_at_ms: 400 }),
    stop(all, { at_ms: 500 }),
    stop(other, { at_ms: 0 }),
  ]
  expect(heldMs(stops, job, 0, 600)).toBe(250)
  expect(heldMs(stops, job, 180, 600)).toBe(170)
  expect(heldMs(stops, job, 0, 100)).toBe(0)
})
