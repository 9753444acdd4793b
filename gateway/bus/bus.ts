import { connect, nkeyAuthenticator, nuid, type ConnectionOptions, type Msg } from '@nats-io/transport-node'
import {
  BusError,
  nanosecondsOf,
  parseAck,
  storedFromApi,
  type Appended,
  type AppendOptions,
  type Headers,
  type Heard,
  type Stored,
} from './message.ts'
import { watchLeaving } from '../leaving.ts'
import { frameSender, heardFrom, numberBehind } from './wire.ts'

/**
 * The only file that knows the NATS client. Everything else speaks of appends, messages and requests.
 *
 * Appends are pipelined over one reply inbox: a request per publish halves the throughput of the whole gateway.
 */
export type Bus = {
  readonly serverVersion: string
  readonly maxPayloadBytes: number
  /** True while the connection is up; `append` and `request` fail fast while it is not. */
  connected(): boolean
  /** Stores one message in whichever stream owns the subject and waits for its acknowledgement. */
  append(subject: string, body: Uint8Array | string, options?: AppendOptions): Promise<Appended>
  /** Core publish: nobody promises that anybody hears it. */
  publish(subject: string, body: Uint8Array | string, headers?: Headers, reply?: string): void
  /** One JetStream API call (or any JSON service); throws `BusError` with the server's code and words. */
  request(subject: string, body?: unknown, timeoutMs?: number): Promise<Record<string, unknown>>
  /** The newest stored message on a subject, asked of the stream's leader, so that it is never stale. */
  last(stream: string, subject: string): Promise<Stored | undefined>
  /** The oldest stored message on a subject (wildcards allowed) from that sequence on; as fresh as `last`. */
  next(stream: string, subject: string, from: number): Promise<Stored | undefined>
  /** One stored message by sequence; may be served by any replica. */
  get(stream: string, sequence: number): Promise<Stored | undefined>
  /** Removes one copy of a payload; a copy that is gone already is not an error. */
  remove(stream: string, sequence: number): Promise<void>
  subscribe(subject: string, queue: string | undefined, handle: (message: Heard) => void): void
  /** A subject of this connection's own inbox and the messages that arrive on it. */
  inbox(name: string, handle: (message: Heard) => void): string
  onReconnect(act: () => void): void
  flush(): Promise<void>
  close(): Promise<void>
}

export type BusOptions = {
  readonly url: string
  readonly user?: string | undefined
  readonly password?: string | undefined
  readonly nkeySeed?: string | undefined
  readonly inboxPrefix: string
  readonly name: string
  readonly onStatus?: (event: string) => void
}

const askTimeoutMs = 5_000
const sweepEveryMs = 250
const noHeaders: AppendOptions = {}

type Waiting = {
  readonly heard: (message: Msg) => void
  readonly reject: (error: Error) => void
  readonly deadlineMs: number
}

/** Publishes with an address for the one answer, and hears it; rejects with `BusError` when it is not known what became of it. */
type Ask = <T>(
  subject: string,
  body: Uint8Array | string,
  options: AppendOptions,
  timeoutMs: number,
  read: (message: Msg) => T,
) => Promise<T>

/** Opens the connection; reconnects for ever, because a gateway without its bus only waits. */
export async function connectBus(options: BusOptions): Promise<Bus> {
  const nc = await connect(connectionOptions(options))
  const leaving = watchLeaving(nc, () => void nc.reconnect().catch(() => undefined))
  const waiting = new Map<number, Waiting>()
  const reconnects: (() => void)[] = []
  const inboxRoot = `${options.inboxPrefix}.${nuid.next()}`
  let up = true
  let counter = 0

  const fail = (why: string): void => {
    const entries = [...waiting.values()]
    waiting.clear()
    for (const entry of entries) entry.reject(new BusError(why))
  }
  const acks = `${inboxRoot}.a.`
  const send = frameSender(nc)
  nc.subscribe(`${acks}*`, {
    callback: (error, message) => {
      if (error !== null) return
      const key = numberBehind(message, acks.length)
      const entry = waiting.get(key)
      if (entry === undefined) return
      waiting.delete(key)
      entry.heard(message)
    },
  })
  const sweep = setInterval(() => {
    const nowMs = performance.now()
    for (const [key, entry] of waiting) {
      if (entry.deadlineMs > nowMs) continue
      waiting.delete(key)
      entry.reject(new BusError('no answer in time: the outcome is unknown', 503))
    }
  }, sweepEveryMs)
  sweep.unref()
  const watch = async (): Promise<void> => {
    for await (const status of nc.status()) {
      options.onStatus?.(status.type)
      if (status.type === 'disconnect') {
        up = false
        fail('disconnected: the outcome is unknown')
      } else if (status.type === 'reconnect') {
        up = true
        for (const act of reconnects) act()
      }
    }
  }
  void watch() // Ends with the connection.
  const ask: Ask = (subject, body, options, timeoutMs, read) =>
    new Promise((resolve, reject) => {
      if (!up) return reject(new BusError('disconnected: nothing was sent', 503))
      const key = counter++
      const heard = (message: Msg): void => {
        try {
          resolve(read(message))
        } catch (error) {
          reject(error as Error)
        }
      }
      waiting.set(key, { heard, reject, deadlineMs: performance.now() + timeoutMs })
      try {
        send(subject, acks + String(key), options, body)
      } catch (error) {
        waiting.delete(key)
        reject(new BusError(error instanceof Error ? error.message : 'publish failed'))
      }
    })

  return {
    get serverVersion() {
      return nc.info?.version ?? '0.0.0'
    },
    get maxPayloadBytes() {
      return nc.info?.max_payload ?? 1_048_576
    },
    connected: () => up && !nc.isClosed(),
    append: (subject, body, append = {}) =>
      leaving.inTime(append.leaveByMs)
        ? ask(subject, body, append, askTimeoutMs, ({ data }) => parseAck(data))
        : Promise.reject(new BusError('too late: nothing was sent')),
    publish: (subject, body, headers, reply = '') =>
      send(subject, reply, headers === undefined ? noHeaders : { headers }, body),
    request: (subject, body, timeoutMs = askTimeoutMs) => requestJson(ask, subject, body, timeoutMs),
    last: (stream, subject) => readStream(ask, stream, { last_by_subj: subject }),
    next: (stream, subject, from) => readStream(ask, stream, { seq: from, next_by_subj: subject }),
    get: (stream, sequence) => directGet(ask, stream, sequence),
    remove: async (stream, sequence) => {
      await missing(
        requestJson(
          ask,
          `$JS.API.STREAM.MSG.DELETE.${stream}`,
          { seq: sequence, no_erase: true },
          askTimeoutMs,
        ),
      )
    },
    subscribe: (subject, queue, handle) => {
      const callback = (error: Error | null, message: Msg): void => {
        if (error === null) handle(heardFrom(message))
      }
      nc.subscribe(subject, queue === undefined ? { callback } : { queue, callback })
    },
    inbox: (name, handle) => {
      const subject = `${inboxRoot}.${name}`
      nc.subscribe(subject, {
        callback: (error, message) => {
          if (error === null) handle(heardFrom(message))
        },
      })
      return subject
    },
    onReconnect: (act) => void reconnects.push(act),
    flush: () => nc.flush(),
    close: async () => {
      clearInterval(sweep)
      if (up) await nc.flush().catch(() => undefined)
      await nc.close()
      fail('closed: the outcome is unknown')
    },
  }
}

function connectionOptions(options: BusOptions): ConnectionOptions {
  return {
    servers: options.url,
    name: options.name,
    inboxPrefix: options.inboxPrefix,
    ignoreClusterUpdates: true,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 200,
    reconnectJitter: 50,
    pingInterval: 10_000,
    ...(options.user === undefined ? {} : { user: options.user }),
    ...(options.password === undefined ? {} : { pass: options.password }),
    ...(options.nkeySeed === undefined
      ? {}
      : { authenticator: nkeyAuthenticator(new TextEncoder().encode(options.nkeySeed)) }),
  }
}

function requestJson(
  ask: Ask,
  subject: string,
  body: unknown,
  timeoutMs: number,
): Promise<Record<string, unknown>> {
  const payload = body === undefined ? '' : JSON.stringify(body)
  return ask(subject, payload, noHeaders, timeoutMs, (message) => {
    if (isUnheard(message)) throw new BusError(`${subject}: nobody answers here`, 503)
    const answer = JSON.parse(message.string()) as Record<string, unknown>
    const error = answer['error'] as { err_code?: number; description?: string } | undefined
    if (error !== undefined)
      throw new BusError(`${subject}: ${error.description ?? 'refused'}`, error.err_code ?? 0)
    return answer
  })
}

async function readStream(ask: Ask, stream: string, question: object): Promise<Stored | undefined> {
  const subject = `$JS.API.STREAM.MSG.GET.${stream}`
  return storedFromApi(await missing(requestJson(ask, subject, question, askTimeoutMs)))
}

/** What the server itself says when nobody listens on the subject of a question. */
const isUnheard = ({ headers, data }: Msg): boolean => headers?.code === 503 && data.length === 0

/** "No message found" (10037) and "sequence not found" (10043, 10057) are an answer, not a failure. */
async function missing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof BusError && [10037, 10043, 10057].includes(error.code)) return undefined
    throw error
  }
}

function directGet(ask: Ask, stream: string, sequence: number): Promise<Stored | undefined> {
  const question = JSON.stringify({ seq: sequence })
  return ask(`$JS.API.DIRECT.GET.${stream}`, question, noHeaders, askTimeoutMs, (message) => {
    if (message.headers?.code === 404) return undefined
    const found = heardFrom(message)
    if (found.status !== 0)
      throw new BusError(`read ${stream} ${sequence}: ${found.statusText}`, found.status)
    return {
      subject: found.header('Nats-Subject'),
      sequence: Number(found.header('Nats-Sequence')),
      timeMs: Date.parse(found.header('Nats-Time-Stamp')),
      timeNs: nanosecondsOf(found.header('Nats-Time-Stamp')),
      body: found.body,
      header: (name) => found.header(name),
    }
  })
}
