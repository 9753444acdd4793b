import type { Bus } from './bus.ts'
import { parseDelivery, type Delivery } from './delivery.ts'
import type { Heard } from './message.ts'

export type PullOptions = {
  readonly stream: string
  readonly consumer: string
  /** How many messages this gateway holds at a time. */
  readonly inFlightMax: number
  /** A handler that throws leaves the message unacknowledged; it is asked for again after `retryMs`. */
  readonly handle: (delivery: Delivery) => Promise<void>
  readonly onError: (error: unknown, delivery: Delivery) => void
  /** Pulling stops while this is false: the stream fills, and its bound does the rest. */
  readonly open?: () => boolean
  /** At most so many messages a second. */
  readonly ratePerSec?: number
}

export type Pull = { stop(): Promise<void>; inFlight(): number }

const expiresMs = 30_000
const lostAfterMs = expiresMs + 5_000
const backoffMs = 250
const retryMs = 1_000

/** Asked for, and when the last of it has come or never will. */
type Request = { readonly batch: number; readonly endsAtMs: number }

/**
 * Keeps up to `inFlightMax` messages of a durable pull consumer in work, and asks for more only as they are finished.
 * A pull that the server ends for any reason (expired, shutdown, consumer gone) is simply asked again after a pause.
 */
export function pull(bus: Bus, options: PullOptions): Pull {
  const api = `$JS.API.CONSUMER.MSG.NEXT.${options.stream}.${options.consumer}`
  const quarter = options.inFlightMax >> 2
  // The server gives up a connection on which too much waits to be read, and so many large messages are that much. Less than
  // one message must never be asked for: it would stand at the head of the stream for ever.
  const bytesMax = 2 * bus.maxPayloadBytes
  const requests = new Map<string, Request>()
  /** Messages that the server still owes us. */
  let asked = 0
  let running = true
  let inFlight = 0
  let counter = 0
  let pausedUntilMs = 0
  let allowance = options.ratePerSec ?? 0
  let allowanceAtMs = performance.now()
  let wake: NodeJS.Timeout | undefined
  let drained: (() => void) | undefined

  const laterIn = (delayMs: number): void => {
    wake ??= setTimeout(() => {
      wake = undefined
      refill()
    }, delayMs)
  }
  const allowed = (room: number): number => {
    if (options.ratePerSec === undefined) return room
    const nowMs = performance.now()
    allowance = Math.min(
      options.ratePerSec,
      allowance + ((nowMs - allowanceAtMs) * options.ratePerSec) / 1_000,
    )
    allowanceAtMs = nowMs
    return Math.min(room, Math.floor(allowance) - asked)
  }
  const refill = (): void => {
    const room = options.inFlightMax - inFlight - asked
    // Small pulls cost as much as large ones: while others are open, wait until a quarter is free.
    if (asked > 0 && room < quarter) return
    if (!running || !bus.connected()) return
    if (options.open?.() === false || performance.now() < pausedUntilMs) return laterIn(backoffMs)
    const batch = allowed(room)
    if (batch < 1) return asked === 0 && inFlight < options.inFlightMax ? laterIn(backoffMs) : undefined
    if (asked > 0 && batch < quarter) return
    const key = (counter++).toString(36)
    requests.set(key, { batch, endsAtMs: performance.now() + lostAfterMs })
    asked += batch
    bus.publish(
      api,
      JSON.stringify({ batch, expires: expiresMs * 1_000_000, max_bytes: bytesMax }),
      undefined,
      `${inboxRoot}.${key}`,
    )
  }
  /**
   * Which request a delivery belongs to cannot be seen: it carries its stream's subject, and servers may serve open requests
   * in turn. So only the sum is kept, and a request that ends early says how much of it was not served.
   */
  const ended = (key: string, message: Heard): void => {
    const request = requests.get(key)
    requests.delete(key)
    const pending = message.header('Nats-Pending-Messages')
    const batch = request?.batch ?? 0
    const unserved = pending === '' ? batch : Number(pending)
    asked = Math.max(0, asked - unserved)
    // What ended by its time, or brought something first, is an ordinary end: with a bound in bytes every one has a word of its own.
    const isOrdinary = [404, 408].includes(message.status) || unserved < batch
    if (!isOrdinary) pausedUntilMs = performance.now() + backoffMs
    refill()
  }
  const work = async (delivery: Delivery): Promise<void> => {
    try {
      await options.handle(delivery)
    } catch (error) {
      options.onError(error, delivery)
      // Not acknowledged: it would come back after ack_wait anyway; this only makes it sooner.
      setTimeout(() => running && delivery.nak(0), retryMs).unref()
    } finally {
      inFlight--
      if (running) refill()
      else if (inFlight === 0) drained?.()
    }
  }
  const inboxRoot = bus
    .inbox(`p.${options.stream}.${options.consumer}.*`, (message) => {
      const delivery = parseDelivery(bus, options.stream, message)
      if (delivery === undefined)
        return message.status === 100
          ? undefined
          : ended(message.subject.slice(inboxRoot.length + 1), message)
      if (asked > 0) asked--
      // Asked for before the door closed: whoever finds it open again gets it.
      if (!running || options.open?.() === false) return delivery.nak(retryMs)
      allowance--
      inFlight++
      void work(delivery) // Catches everything itself.
    })
    .slice(0, -'.*'.length)
  bus.onReconnect(() => {
    requests.clear()
    asked = 0
    refill()
  })
  const guard = setInterval(() => {
    const nowMs = performance.now()
    let open = 0
    for (const [key, { batch, endsAtMs }] of requests)
      if (endsAtMs < nowMs) requests.delete(key)
      else open += batch
    // A word of the server that was lost, or that said less than it meant, must not hold up anything for long.
    asked = Math.min(asked, open)
    refill()
  }, 1_000)
  guard.unref()
  refill()
  return {
    inFlight: () => inFlight,
    stop: async () => {
      running = false
      clearInterval(guard)
      if (wake !== undefined) clearTimeout(wake)
      if (inFlight > 0) await new Promise<void>((resolve) => (drained = resolve))
    },
  }
}
