import type { Bus } from '../bus/bus.ts'
import { BusError, type Heard } from '../bus/message.ts'

/** Reads a stream from one sequence to another, many reads in flight, as fast as the server answers. */
export type Reader = {
  /**
   * Calls `take` for each message in the order of the stream. Resolves with the first sequence that was not there, or
   * with `to + 1`; rejects with `BusError` when the server stops answering. One reading at a time.
   */
  read(from: number, to: number, take: (sequence: number, body: Uint8Array) => void): Promise<number>
}

const inFlightMax = 64
const silenceMaxMs = 5_000

type Reading = {
  readonly to: number
  readonly take: (sequence: number, body: Uint8Array) => void
  readonly resolve: (next: number) => void
  readonly reject: (error: Error) => void
  readonly early: Map<number, Uint8Array>
  next: number
  asked: number
  heardMs: number
}

/** Direct gets over one inbox of our own: a promise and a timer for each would cost three times as much. */
export function openReader(bus: Bus, stream: string): Reader {
  const api = `$JS.API.DIRECT.GET.${stream}`
  let reading: Reading | undefined
  // An answer to a reading that was given up must not be taken for one to the next.
  let generation = 0

  const end = (): void => {
    reading = undefined
    generation++
  }
  const ask = (current: Reading): void => {
    while (current.asked < current.to && current.asked - current.next < inFlightMax - 1) {
      current.asked++
      bus.publish(api, `{"seq":${current.asked}}`, undefined, `${root}${generation}-${current.asked}`)
    }
  }
  const handle = (message: Heard): void => {
    const [of, sequence] = message.subject.slice(root.length).split('-').map(Number)
    const current = reading
    if (current === undefined || of !== generation || sequence === undefined) return
    current.heardMs = performance.now()
    const { status } = message
    if (status !== 0 && status !== 404) {
      end()
      return current.reject(new BusError(`read ${stream}: ${message.statusText}`, status))
    }
    current.early.set(sequence, status === 404 ? missing : message.body)
    deliver(current)
  }
  const deliver = (current: Reading): void => {
    for (;;) {
      const body = current.early.get(current.next)
      if (body === undefined) return ask(current)
      if (body !== missing) {
        current.early.delete(current.next)
        current.take(current.next++, body)
      }
      if (body === missing || current.next > current.to) {
        end()
        return current.resolve(current.next)
      }
    }
  }
  const root = bus.inbox('read.*', handle).slice(0, -1)
  return {
    read: (from, to, take) =>
      new Promise((resolve, reject) => {
        if (reading !== undefined) throw new Error('a reading is under way')
        if (from > to) return resolve(from)
        const current: Reading = {
          to,
          take,
          resolve,
          reject,
          early: new Map(),
          next: from,
          asked: from - 1,
          heardMs: performance.now(),
        }
        reading = current
        const watch = setInterval(() => {
          if (reading !== current) return clearInterval(watch)
          if (performance.now() - current.heardMs < silenceMaxMs) return
          end()
          reject(new BusError(`read ${stream}: no answer`, 503))
        }, 500)
        watch.unref()
        ask(current)
      }),
  }
}

/** Stands in the place of a message that is not there; no stored message is this very array. */
const missing = new Uint8Array()
