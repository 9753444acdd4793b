import { afterAll, beforeAll, expect, test } from 'vitest'
import { connectBus, type Bus } from '../../gateway/bus/bus.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { until } from '../helpers/gateway.ts'

let nats: TestNats
let bus: Bus

beforeAll(async () => {
  nats = await startTestNats()
  bus = await connectBus({
    url: nats.url,
    user: 'gateway',
    password: nats.passwords['gateway'],
    inboxPrefix: '_INBOX_gateway',
    name: 'test',
  })
})
afterAll(async () => {
  await bus.close()
  await nats.stop()
})

/** As SIGSTOP does: time goes by, and nothing runs. */
const standStill = (ms: number): unknown => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

test('what did not leave in time is never sent, whatever else was to leave with it, and the connection comes back', async () => {
  const before = bus.append('audit._control', '"before"')
  const late = bus.append('audit._control', '"late"', { leaveByMs: performance.now() + 20 })
  const beside = bus.append('audit._control', '"beside"')
  standStill(60)
  for (const one of [before, late, beside]) await expect(one).rejects.toThrow(/outcome is unknown/)
  const after = await until(() => bus.append('audit._control', '"after"').catch(() => undefined))
  expect(after).toEqual({ type: 'stored', sequence: 1, duplicate: false })
})

test('what is too late when it is published is refused at once', async () => {
  const gone = { leaveByMs: performance.now() - 1 }
  await expect(bus.append('audit._control', '"x"', gone)).rejects.toThrow('nothing was sent')
  expect(await bus.append('audit._control', '"y"')).toMatchObject({ sequence: 2 })
})

test('what leaves in time is stored, and its time says nothing about what comes after it', async () => {
  const leaveByMs = performance.now() + 60_000
  expect(await bus.append('audit._control', '"z"', { leaveByMs })).toMatchObject({ type: 'stored' })
  const soon = bus.append('audit._control', '"soon"', { leaveByMs: performance.now() + 1_000 })
  await soon
  standStill(1_100)
  expect(await bus.append('audit._control', '"later"')).toMatchObject({ type: 'stored' })
})
