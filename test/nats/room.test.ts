import { afterAll, beforeAll, expect, test } from 'vitest'

import { connectBus, type Bus } from '../../gateway/bus/bus.ts'
import { keepRoom } from '../../gateway/bus/room.ts'
import { until } from '../helpers/gateway.ts'
import { asOwner, startTestNats, type TestNats } from '../helpers/nats-server.ts'

const auditBytesMax = 8 * 1024 * 1024
const gateways = 4

let nats: TestNats
let buses: Bus[]

beforeAll(async () => {
  // What is written here are no records.
  nats = await startTestNats({ owner: 'stays', limits: { auditBytesMax }, replay: false })
  buses = await Promise.all(Array.from({ length: gateways }, async () => keepRoom(await connect())))
})
afterAll(async () => {
  await Promise.all(buses.map((bus) => bus.close()))
  await nats.stop()
})

const connect = (): Promise<Bus> =>
  connectBus({
    url: nats.url,
    user: 'gateway',
    password: nats.passwords['gateway'],
    inboxPrefix: '_INBOX_gateway',
    name: 'a gateway',
  })

type State = { messages: number; bytes: number; first_seq: number; last_seq: number }
const stateOf = async (stream: string): Promise<State> =>
  (await (await asOwner(nats))(`$JS.API.STREAM.INFO.${stream}`))['state'] as State

/** As many at once as a gateway has causes in hand; until the stream takes no more, however small. */
async function fill(bus: Bus, subject: (n: number) => string): Promise<number> {
  let stored = 0
  const one = async (lane: number): Promise<void> => {
    for (let n = 0; ; n++) {
      const body = 'x'.repeat(n % 3 === 0 ? 64 : 1_500 + ((n * 37 + lane) % 900))
      const appended = await bus.append(subject(lane * 1_000_000 + n), body, {
        headers: { 'Sluice-Job': 'x' },
      })
      if (appended.type === 'refused') return
      stored++
    }
  }
  await Promise.all(Array.from({ length: 64 }, (_, lane) => one(lane)))
  return stored
}

test('what several gateways write until AUDIT is full stays, from the first record to the last', async () => {
  const stored = await Promise.all(
    buses.map((bus, at) => fill(bus, (n) => `audit.default.s${at}${String(n).padStart(24, '0')}`)),
  )
  const all = stored.reduce((sum, one) => sum + one, 0)
  const { first_seq, last_seq, messages, bytes } = await stateOf('AUDIT')
  expect({ first_seq, last_seq, messages }).toEqual({ first_seq: 1, last_seq: all, messages: all })
  expect(bytes).toBeLessThanOrEqual(auditBytesMax)
  expect(bytes).toBeGreaterThan(auditBytesMax * 0.97)
})

test('there is room again as soon as the owner makes some', async () => {
  const [bus] = buses as [Bus]
  // Larger than all that was refused before: a smaller one may still find its place.
  const large = 'x'.repeat(4_000)
  expect((await bus.append('audit._control', large)).type).toBe('refused')
  const api = await asOwner(nats)
  const { config } = (await api('$JS.API.STREAM.INFO.AUDIT')) as { config: object }
  await api('$JS.API.STREAM.UPDATE.AUDIT', { ...config, max_bytes: 2 * auditBytesMax })
  await until(async () => (await bus.append('audit._control', large)).type === 'stored')
})
