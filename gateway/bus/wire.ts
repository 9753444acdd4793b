import type { AppendOptions, Headers, Heard } from './message.ts'

/**
 * Past the client library where it is dear: what it does for each message published and heard (checks, an encoding and a buffer
 * for each part, text of subjects that nobody reads) costs more than the rest of the gateway's work for the bus together.
 * Everything here relies on the inside of the pinned version of `@nats-io/nats-core`; nothing else does.
 */
type Inside = {
  readonly protocol: {
    /** Takes whole frames, sent together at the end of the turn. */
    sendCommand(frame: Uint8Array, ...more: Uint8Array[]): void
    isClosed(): boolean
    noMorePublishing: boolean
    readonly info?: { readonly max_payload: number }
  }
}

/** A message of the client's, as far as it is used here. */
export type ClientMessage = {
  readonly data: Uint8Array
  readonly headers?: { readonly code: number; readonly description: string; values(name: string): string[] }
}

type InsideMessage = { readonly _msg: { readonly subject: Uint8Array; readonly reply?: Uint8Array } }

/** Publishes one message; `reply` is empty for none. Throws when the connection is closed or the message too large. */
export type SendFrame = (
  subject: string,
  reply: string,
  options: AppendOptions,
  body: Uint8Array | string,
) => void

const lineEnd = Buffer.from('\r\n')
const blank = /[\s]/

export function frameSender(connection: object): SendFrame {
  const { protocol } = connection as Inside
  return (subject, reply, options, body) => {
    // A blank would end the subject, and what stands behind it would be read as something else.
    if (subject === '' || blank.test(subject) || blank.test(reply)) throw new Error('not a subject')
    if (protocol.isClosed() || protocol.noMorePublishing) throw new Error('the connection is closed')
    const head = headText(options)
    const headBytes = Buffer.byteLength(head)
    const length = headBytes + (typeof body === 'string' ? Buffer.byteLength(body) : body.length)
    if (length > (protocol.info?.max_payload ?? Infinity)) throw new Error('larger than max_payload')
    const to = reply === '' ? subject : `${subject} ${reply}`
    const line = head === '' ? `PUB ${to} ${length}\r\n` : `HPUB ${to} ${headBytes} ${length}\r\n${head}`
    if (typeof body === 'string') protocol.sendCommand(Buffer.from(`${line}${body}\r\n`))
    else protocol.sendCommand(Buffer.from(line), body, lineEnd)
  }
}

/** Headers as the wire has them (ADR-4); empty if there are none. */
function headText({ expect, messageId, headers }: AppendOptions): string {
  let text = headers === undefined ? '' : lines(headers)
  if (expect !== undefined) text += `\r\nNats-Expected-Last-Subject-Sequence: ${expect}`
  if (messageId !== undefined) text += lines({ 'Nats-Msg-Id': messageId })
  return text === '' ? '' : `NATS/1.0${text}\r\n\r\n`
}

function lines(headers: Headers): string {
  let text = ''
  for (const name in headers) {
    const value = headers[name] ?? ''
    if (value.includes('\r') || value.includes('\n')) throw new Error('a header value has a line break')
    text += before(name) + value
  }
  return text
}

/** What stands before a value: made once for each name, of which our own code has a few dozen. */
const names = new Map<string, string>()

function before(name: string): string {
  const known = names.get(name)
  if (known !== undefined) return known
  const made = `\r\n${name}: `
  names.set(name, made)
  return made
}

/** The number that stands in the message's subject behind its first `skip` bytes. */
export function numberBehind(message: ClientMessage, skip: number): number {
  const { subject } = (message as unknown as InsideMessage)._msg
  let number = 0
  for (let at = skip; at < subject.length; at++) number = number * 10 + (subject[at] ?? 0) - 0x30
  return number
}

/** The message as the gateway sees it. What is not asked for is not decoded: most are heard for their body alone. */
export function heardFrom(message: ClientMessage): Heard {
  return new HeardMessage(message)
}

class HeardMessage implements Heard {
  private readonly message: ClientMessage
  constructor(message: ClientMessage) {
    this.message = message
  }
  get subject(): string {
    return textOf((this.message as unknown as InsideMessage)._msg.subject)
  }
  get reply(): string {
    return textOf((this.message as unknown as InsideMessage)._msg.reply)
  }
  get body(): Uint8Array {
    return this.message.data
  }
  get status(): number {
    return this.message.headers?.code ?? 0
  }
  get statusText(): string {
    return this.message.headers?.description ?? ''
  }
  header(name: string): string {
    return this.message.headers?.values(name).at(-1) ?? ''
  }
}

function textOf(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return ''
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
}
