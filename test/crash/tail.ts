import { setTimeout as sleep } from 'node:timers/promises'

import { type Msg, type NatsConnection } from '@nats-io/transport-node'

/** One stored message as the server gives it to somebody who reads the stream by sequence. */
export type Entry = {
  readonly seq: number
  readonly subject: string
  /** When the server stored it. */
  readonly timeMs: number
  readonly body: string
  header(name: string): string
}

/** Everything that was ever stored in a stream, read while it is written, so that nothing can be taken away unseen. */
export type Tail = {
  readonly entries: readonly Entry[]
  /** Sequences that were gone before they could be read. */
  readonly missing: readonly number[]
  /** Reads up to what stands there now. */
  caughtUp(): Promise<void>
  stop(): Promise<void>
}

const window = 64
const pauseMs = 100
const requestTimeoutMs = 2_000

/** Follows a stream with the owner's credential and without any code of the gateway. */
export function tail(owner: NatsConnection, stream: string): Tail {
  const entries: Entry[] = []
  const missing: number[] = []
  let next = 1
  let running = true

  const ask = (subject: string, body = ''): Promise<Msg> =>
    owner.request(subject, body, { timeout: requestTimeoutMs })
  const round = async (): Promise<number> => {
    const info = (await ask(`$JS.API.STREAM.INFO.${stream}`)).json<{ state: { last_seq: number } }>()
    const lastSeq = info.state.last_seq
    while (next <= lastSeq) {
      const wanted = Array.from({ length: Math.min(window, lastSeq - next + 1) }, (_, index) => next + index)
      const messages = await Promise.all(
        wanted.map((seq) => ask(`$JS.API.DIRECT.GET.${stream}`, JSON.stringify({ seq }))),
      )
      for (const [index, message] of messages.entries()) {
        if (message.headers?.code === 404) missing.push(wanted[index] as number)
        else entries.push(entryFrom(message))
      }
      next += wanted.length
    }
    return lastSeq
  }
  const follow = async (): Promise<void> => {
    while (running) {
      // A server that is down answers nobody; it is asked again.
      await round().catch(() => undefined)
      await sleep(pauseMs)
    }
  }
  const followed = follow()
  return {
    entries,
    missing,
    caughtUp: async () => {
      const info = (await ask(`$JS.API.STREAM.INFO.${stream}`)).json<{ state: { last_seq: number } }>()
      while (next <= info.state.last_seq) await sleep(pauseMs)
    },
    stop: async () => {
      running = false
      await followed
    },
  }
}

/** The newest state of every job; reads only what is new, because it is asked often. */
export function stateReader(): (entries: readonly Entry[]) => ReadonlyMap<string, string> {
  const states = new Map<string, string>()
  let read = 0
  return (entries) => {
    for (; read < entries.length; read++) {
      const { subject, body } = entries[read] as Entry
      if (subject.startsWith('audit._')) continue
      states.set(subject, (JSON.parse(body) as { data: { state: { to: string } } }).data.state.to)
    }
    return states
  }
}

function entryFrom(message: Msg): Entry {
  const header = (name: string): string => message.headers?.last(name) ?? ''
  return {
    seq: Number(header('Nats-Sequence')),
    subject: header('Nats-Subject'),
    timeMs: Date.parse(header('Nats-Time-Stamp')),
    body: message.string(),
    header,
  }
}
