/**
 * The jobs of the bench: about 300 bytes, an ordinary read that the mission's policy allows. Number and sending time stand
 * at fixed places, so that the worker need not parse what it only counts.
 */
export const topic = 'mcp-bridge.read.get_ticket'

const before = '{"payload":{"n":"'
const between = '","at":"'
const after =
  '","ticket":"T-1","fields":["status","owner","history"],"note":"What the customer wrote since yesterday, newest ' +
  'first"},"risk_tags":[],"labels":{"team":"support","run":"bench"},"capability":"tickets.read","requires":["tickets"]}'

const numberDigits = 9
const timeDigits = 16
const numberAt = before.length
const timeAt = numberAt + numberDigits + between.length

/** A job with its number and the time it is sent at, in microseconds of `nowUs`. */
export function jobBytes(number: number, sentUs: number): Buffer {
  const n = String(number).padStart(numberDigits, '0')
  const at = String(sentUs).padStart(timeDigits, '0')
  return Buffer.from(`${before}${n}${between}${at}${after}`)
}

/** The number of a job from its bytes. */
export const numberOf = (body: Uint8Array): number => digits(body, numberAt, numberDigits)

/** When it was sent, on the clock of `nowUs`. */
export const sentUsOf = (body: Uint8Array): number => digits(body, timeAt, timeDigits)

/** Whole microseconds of a clock that all processes of one machine share and nobody sets. */
export const nowUs = (): number => Number(process.hrtime.bigint() / 1_000n)

function digits(body: Uint8Array, from: number, count: number): number {
  let value = 0
  for (let at = from; at < from + count; at++) value = value * 10 + (body[at] ?? 0x30) - 0x30
  return value
}
