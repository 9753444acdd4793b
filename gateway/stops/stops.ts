import type { Stop } from '../../policy/stop.ts'
import type { Bus } from '../bus/bus.ts'
import { BusError } from '../bus/message.ts'

/** The orders to stop as they are stored for all gateways, and how old this gateway's reading of them is. */
export type Stops = {
  readonly all: () => readonly Stop[]
  /** Milliseconds since the newest reading was asked for, by a clock that goes on while the process is stopped. */
  readonly ageMs: () => number
  readonly read: () => Promise<void>
  /** Replaces the orders by compare-and-set; returning what was given changes nothing. */
  change(to: (stops: readonly Stop[]) => readonly Stop[]): Promise<void>
  readonly close: () => void
}

const subject = '$KV.gov_control.stops'
const stream = 'KV_gov_control'
const readEveryMs = 200
/** A slow server is asked on while older questions are on their way, so that answers keep coming as often. */
const askedAtOnceMax = 5
const conflictsMax = 20

/** `onRead` hears every reading. Throws if there is none to begin with. */
export async function openStops(bus: Bus, onRead: (stops: readonly Stop[]) => void): Promise<Stops> {
  let stops: readonly Stop[] = []
  let readAtMs = -Infinity
  let asked = 0

  const seen = (newest: readonly Stop[], askedAtMs: number): void => {
    // An answer that was overtaken by a younger one says nothing any more.
    if (askedAtMs < readAtMs) return
    readAtMs = askedAtMs
    stops = newest
    onRead(stops)
  }
  const read = async (): Promise<void> => {
    // The clock is taken before the question: an order stored while it travels must not count as seen.
    const askedAtMs = performance.now()
    asked++
    try {
      const stored = await bus.last(stream, subject)
      seen(stored === undefined ? [] : decode(stored.body), askedAtMs)
    } finally {
      asked--
    }
  }
  const timer = setInterval(() => {
    if (asked < askedAtOnceMax) void read().catch(() => undefined)
  }, readEveryMs)
  timer.unref()
  await read()
  return {
    all: () => stops,
    ageMs: () => performance.now() - readAtMs,
    read,
    change: async (to) => {
      for (let attempt = 0; attempt < conflictsMax; attempt++) {
        const stored = await bus.last(stream, subject)
        const before = stored === undefined ? [] : decode(stored.body)
        const next = to(before)
        if (next === before) return read()
        const appended = await bus.append(subject, JSON.stringify(next), { expect: stored?.sequence ?? 0 })
        if (appended.type === 'stored') return read()
        if (appended.type === 'refused')
          throw new BusError(`the order could not be stored: ${appended.detail}`)
      }
      throw new BusError('the stops are contended')
    },
    close: () => clearInterval(timer),
  }
}

function decode(body: Uint8Array): readonly Stop[] {
  return JSON.parse(Buffer.from(body).toString()) as readonly Stop[]
}
