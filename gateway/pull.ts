import type { Bus } from './bus.ts'
import type { Heard } from './message.ts'

/** A message of a stream, delivered to one of the gateways; it comes again until somebody acknowledges it. */
export type Delivery = {
  readonly stream: string
  readonly subject: string
  readonly sequence: number
  /** Nanoseconds since the epoch at which the server stored it, from the ack subject (ADR-15). */
  readonly storedNs: bigint
  readonly storedMs: number
  readonly deliveries: number
  readonly body: Uint8Array
  header(name: string): string
  ack(): void
  /** Lets go of body and headers: what is held for a long time is only acknowledged later. */
  forget(): void
  /** Starts `ack_wait` anew: the message is still in hand. */
  working(): void
  /** Asks for the message again after `delayMs` (a whole number: a fractional delay fires at once). */
  nak(delayMs: number): void
}

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

const nothing = new Uint8Array()

type Request = { remaining: number; deadlineMs: number }

/**
 * Keeps up to `inFlightMax` messages of a durable pull consumer in work, and asks for more only as they are finished.
 * A pull that the server ends for any reason (expired, shutdown, consumer gone) is simply asked again after a pause.
 */
export function pull(bus: Bus, options: PullOptions): Pull {
  const api = `$JS.API.CONSUMER.MSG.NEXT.${options.stream}.${options.consumer}`
  const requests = new Map<string, Request>()
  let running = true
  let inFlight = 0
  let counter = 0
  let pausedUntilMs = 0
  let allowance = options.ratePerSec ?? 0
  let allowanceAtMs = performance.now()
  let wake: NodeJS.Timeout | undefined
  let drained: (() => void) | undefined

  const outstanding = (): number => {
    let sum = 0
    for (const request of requests.values()) sum += request.remaining
    return sum
  }
  const laterIn = (delayMs: number): void => {
    wake ??= setTimeout(() => {
      wake = undefined
      refill()
    }, delayMs)
  }
  const roomNow = (): number => {
    const room = options.inFlightMax - inFlight - outstanding()
    if (options.ratePerSec === undefined) return room
    const nowMs = performance.now()
    allowance = Math.min(
      options.ratePerSec,
      allowance + ((nowMs - allowanceAtMs) * options.ratePerSec) / 1_000,
    )
    allowanceAtMs = nowMs
    return Math.min(room, Math.floor(allowance) - outstanding())
  }
  const refill = (): void => {
    if (!running || !bus.connected()) return
    if (options.open?.() === false || performance.now() < pausedUntilMs) return laterIn(backoffMs)
    const batch = roomNow()
    if (batch < 1)
      return outstanding() === 0 && inFlight < options.inFlightMax ? laterIn(backoffMs) : undefined
    // Small pulls cost as much as large ones: while others are open, wait until a quarter is free.
    if (batch < options.inFlightMax >> 2 && outstanding() > 0) return
    const key = (counter++).toString(36)
    requests.set(key, { remaining: batch, deadlineMs: performance.now() + lostAfterMs })
    bus.publish(
      api,
      JSON.stringify({ batch, expires: expiresMs * 1_000_000 }),
      undefined,
      `${inboxRoot}.${key}`,
    )
  }
  // A delivery carries its stream's subject, not the request's: the server serves the oldest request first.
  const delivered = (): void => {
    for (const [key, request] of requests) {
      if (--request.remaining <= 0) requests.delete(key)
      return
    }
  }
  const ended = (key: string, status: number): void => {
    requests.delete(key)
    if (status !== 408 && status !== 404) pausedUntilMs = performance.now() + backoffMs
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
          : ended(message.subject.slice(inboxRoot.length + 1), message.status)
      delivered()
      // Asked for before the door closed: whoever finds it open again gets it.
      if (!running || options.open?.() === false) return delivery.nak(retryMs)
      allowance--
      inFlight++
      void work(delivery) // Catches everything itself.
    })
    .slice(0, -'.*'.length)
  bus.onReconnect(() => {
    requests.clear()
    refill()
  })
  const guard = setInterval(() => {
    const nowMs = performance.now()
    for (const [key, request] of requests) if (request.deadlineMs < nowMs) requests.delete(key)
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

/** `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time ns>.<pending>`; the newer form has two more tokens in front. */
function parseDelivery(bus: Bus, stream: string, message: Heard): Delivery | undefined {
  const { reply } = message
  if (!reply.startsWith('$JS.ACK.')) return undefined
  const tokens = reply.split('.')
  const at = tokens.length > 9 ? 6 : 4
  const storedNs = BigInt(tokens[at + 3] ?? '0')
  let held: Heard | undefined = message
  return {
    stream,
    subject: message.subject,
    sequence: Number(tokens[at + 1]),
    storedNs,
    storedMs: Number(storedNs / 1_000_000n),
    deliveries: Number(tokens[at]),
    get body() {
      return held?.body ?? nothing
    },
    header: (name) => held?.header(name) ?? '',
    forget: () => (held = undefined),
    ack: () => bus.publish(reply, ''),
    working: () => bus.publish(reply, '+WPI'),
    nak: (delayMs) =>
      bus.publish(reply, delayMs > 0 ? `-NAK {"delay":${Math.round(delayMs) * 1_000_000}}` : '-NAK'),
  }
}
