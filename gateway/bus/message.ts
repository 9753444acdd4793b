/** What comes over the bus and what became of what was sent, without the client library. */

export type Headers = Readonly<Record<string, string>>

/** `expect` is the last sequence the subject must have (0 = none yet): the compare-and-set every promise rests on. */
export type AppendOptions = {
  readonly expect?: number
  readonly messageId?: string
  readonly headers?: Headers | undefined
  /** By `performance.now()`: what has not left the process by then is not sent at all. */
  readonly leaveByMs?: number | undefined
}

export type Appended =
  | { readonly type: 'stored'; readonly sequence: number; readonly duplicate: boolean }
  /** Somebody else wrote the subject first: read it back and obey. */
  | { readonly type: 'conflict' }
  /** The stream is full or refuses the message: nothing was stored. */
  | { readonly type: 'refused'; readonly detail: string }

export type Stored = {
  readonly subject: string
  readonly sequence: number
  readonly timeMs: number
  /** Nanoseconds since the epoch, as the server has it. */
  readonly timeNs: bigint
  readonly body: Uint8Array
  header(name: string): string
}

export type Heard = {
  readonly subject: string
  readonly reply: string
  readonly body: Uint8Array
  /** The status line's code of a server message (404, 408, 409, 503), else 0. */
  readonly status: number
  readonly statusText: string
  /** The last value of a header, exact case; empty if absent. */
  header(name: string): string
}

/** The outcome is unknown (timeout, disconnect) or the server said no; nothing may be assumed to have happened or not. */
export class BusError extends Error {
  readonly code: number
  constructor(message: string, code = 0) {
    super(message)
    this.name = 'BusError'
    this.code = code
  }
}

type PubAck = {
  readonly seq?: number
  readonly duplicate?: boolean
  readonly error?: { readonly err_code?: number; readonly description?: string }
}

/** The compare-and-set lost: 10071 and, since server 2.12, 10164. */
const lostCodes: readonly number[] = [10071, 10164]
/** The stream is full (10077), the account is (10047, 10023), or the message is too large for it (10054). */
const refusedCodes: readonly number[] = [10077, 10047, 10023, 10054]

/** Reads a stream's acknowledgement; throws `BusError` when it does not say what happened, so that nobody assumes it. */
export function parseAck(body: Uint8Array): Appended {
  if (body.length === 0) throw new BusError('no stream owns this subject', 503)
  const ack = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.length).toString()) as PubAck
  if (ack.error === undefined)
    return { type: 'stored', sequence: ack.seq ?? 0, duplicate: ack.duplicate === true }
  const code = ack.error.err_code ?? 0
  const detail = ack.error.description ?? 'refused'
  if (lostCodes.includes(code)) return { type: 'conflict' }
  if (refusedCodes.includes(code)) return { type: 'refused', detail }
  throw new BusError(detail, code)
}

/** The answer of `STREAM.MSG.GET`. */
export function storedFromApi(answer: Record<string, unknown> | undefined): Stored | undefined {
  if (answer === undefined) return undefined
  const message = answer['message'] as {
    subject: string
    seq: number
    time: string
    data?: string
    hdrs?: string
  }
  const lines = Buffer.from(message.hdrs ?? '', 'base64')
    .toString()
    .split('\r\n')
  return {
    subject: message.subject,
    sequence: message.seq,
    timeMs: Date.parse(message.time),
    timeNs: nanosecondsOf(message.time),
    body: Buffer.from(message.data ?? '', 'base64'),
    header: (name) =>
      lines
        .findLast((line) => line.startsWith(`${name}:`))
        ?.slice(name.length + 1)
        .trim() ?? '',
  }
}

/** RFC 3339 as the server writes it: any number of digits behind the second, or none. */
export function nanosecondsOf(time: string): bigint {
  const [, second = '', digits = ''] = /^([^.Z]+)(?:\.(\d+))?Z$/.exec(time) ?? []
  return BigInt(Date.parse(`${second}Z`)) * 1_000_000n + BigInt(digits.padEnd(9, '0').slice(0, 9))
}
