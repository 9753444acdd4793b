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

const nothing = new Uint8Array()
/** Digits of a time in nanoseconds behind its milliseconds. */
const nsDigits = 6

/**
 * `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time ns>.<pending>` (ADR-15); the newer form has two more
 * tokens in front and a random one behind. Undefined if the message is not from a stream.
 */
export function parseDelivery(bus: Bus, stream: string, message: Heard): Delivery | undefined {
  const { reply } = message
  return reply.startsWith('$JS.ACK.') ? new Delivered(bus, stream, message, reply) : undefined
}

/** A class for the sake of its shape: there is one for every message, and tens of thousands are held as timers. */
class Delivered implements Delivery {
  readonly stream: string
  readonly subject: string
  readonly sequence: number
  readonly deliveries: number
  readonly storedMs: number
  private readonly bus: Bus
  private readonly reply: string
  private readonly storedAt: string
  private held: Heard | undefined

  constructor(bus: Bus, stream: string, message: Heard, reply: string) {
    const tokens = reply.split('.')
    const at = tokens.length > 9 ? 6 : 4
    this.stream = stream
    this.subject = message.subject
    this.sequence = Number(tokens[at + 1])
    this.deliveries = Number(tokens[at])
    this.storedAt = tokens[at + 3] ?? '0'
    this.storedMs = Number(this.storedAt.slice(0, -nsDigits))
    this.bus = bus
    this.reply = reply
    this.held = message
  }
  get storedNs(): bigint {
    return BigInt(this.storedAt)
  }
  get body(): Uint8Array {
    return this.held?.body ?? nothing
  }
  header(name: string): string {
    return this.held?.header(name) ?? ''
  }
  forget(): void {
    this.held = undefined
  }
  ack(): void {
    this.bus.publish(this.reply, nothing)
  }
  working(): void {
    this.bus.publish(this.reply, '+WPI')
  }
  nak(delayMs: number): void {
    const words = delayMs > 0 ? `-NAK {"delay":${Math.round(delayMs) * 1_000_000}}` : '-NAK'
    this.bus.publish(this.reply, words)
  }
}
