import { setTimeout as sleep } from 'node:timers/promises'
import type { Bus } from './bus.ts'
import type { Appended, AppendOptions } from './message.ts'
import { hasFix, refusesWhatIsTooMuch } from '../nats/server-version.ts'

/** Streams that refuse what they have no room for, by the subjects that gateways write. Others are meant to forget. */
const streams: readonly (readonly [prefix: string, stream: string])[] = [
  ['audit.', 'AUDIT'],
  ['gov.dispatch.', 'WORK'],
  ['approvals.pending.', 'APPROVALS'],
  ['gov.throttled.', 'THROTTLED'],
  ['gov.quarantine.', 'QUARANTINE'],
  ['http.', 'JOBS_HTTP'],
  ['$KV.gov_budget.', 'KV_gov_budget'],
  ['$KV.gov_policy.', 'KV_gov_policy'],
  ['$KV.gov_control.', 'KV_gov_control'],
]
/** From here on nothing is appended; so much is lost of the stream's size. */
const stopRatio = 0.98
/** So many gateways together stay below the bound, though each knows only what it appended itself since it looked. */
const gatewaysMax = 16
const youngMs = 250
const pauseMs = 5
/** More than a server stores around a message, and than the headers that the bus adds. */
const aroundBytes = 256

/**
 * Servers before 2.10.5 compare the bare message with the room that is left, store it with what belongs around it, and then
 * delete the oldest messages to get below the bound again, also where a stream must refuse instead. On such a server the
 * gateway itself refuses before it comes to that; on others this does nothing.
 */
export function keepRoom(bus: Bus): Bus {
  const rooms = new Map(streams.map(([prefix, stream]) => [prefix, roomIn(bus, stream)]))
  let version = ''
  let refuses = true
  const needsRoom = (): boolean => {
    if (bus.serverVersion !== version) {
      version = bus.serverVersion
      refuses = hasFix(version, refusesWhatIsTooMuch)
    }
    return !refuses
  }
  return {
    ...bus,
    get serverVersion() {
      return bus.serverVersion
    },
    get maxPayloadBytes() {
      return bus.maxPayloadBytes
    },
    append: (subject, body, options) => {
      const prefix = needsRoom() ? streams.find(([one]) => subject.startsWith(one))?.[0] : undefined
      const room = rooms.get(prefix ?? '')
      if (room === undefined) return bus.append(subject, body, options)
      const bytes = sizeOf(subject, body, options)
      const send = (): Promise<Appended> =>
        bus.append(subject, body, options).finally(() => room.settled(bytes))
      // Usually at once, in the turn in which the caller looked at the clock.
      if (room.takeNow(bytes)) return send()
      return room.take(bytes).then((taken) => (taken ? send() : full))
    },
  }
}

const full: Appended = { type: 'refused', detail: 'the stream is as full as it may be on this server' }

type Room = {
  /** False: it must be looked at first. */
  takeNow(bytes: number): boolean
  /** False: it does not fit any more. Throws `BusError` if that cannot be learned. */
  take(bytes: number): Promise<boolean>
  /** What became of it is known, or never will be. */
  settled(bytes: number): void
}

/** What the server said of its stream; `settledBytes` is what was certainly in it by then. */
type Look = {
  readonly bytes: number
  readonly stopAtBytes: number
  readonly stepBytes: number
  readonly settledBytes: number
  readonly atMs: number
}

function roomIn(bus: Bus, stream: string): Room {
  let takenBytes = 0
  let settledBytes = 0
  let newest: Look | undefined
  let looking: Promise<void> | undefined
  const look = async (): Promise<void> => {
    const [atMs, settledThen] = [performance.now(), settledBytes]
    const { config, state } = (await bus.request(`$JS.API.STREAM.INFO.${stream}`)) as {
      config: { max_bytes: number }
      state: { bytes: number }
    }
    const bound = config.max_bytes > 0 ? config.max_bytes : Infinity
    newest = {
      bytes: state.bytes,
      stopAtBytes: bound * stopRatio,
      stepBytes: (bound * (1 - stopRatio)) / gatewaysMax,
      settledBytes: settledThen,
      atMs,
    }
  }
  const lookAgain = (): Promise<void> => (looking ??= look().finally(() => (looking = undefined)))
  const verdict = (bytes: number): 'fits' | 'full' | 'unknown' => {
    if (newest === undefined) return 'unknown'
    if (newest.bytes + bytes > newest.stopAtBytes)
      return performance.now() - newest.atMs < youngMs ? 'full' : 'unknown'
    const sinceBytes = takenBytes - newest.settledBytes
    if (newest.bytes + sinceBytes + bytes > newest.stopAtBytes) return 'unknown'
    // One message may always go, however small the stream is.
    return sinceBytes === 0 || sinceBytes + bytes <= newest.stepBytes ? 'fits' : 'unknown'
  }
  const takeNow = (bytes: number): boolean => {
    if (verdict(bytes) !== 'fits') return false
    takenBytes += bytes
    // Ahead of time, so that a busy gateway need not wait for it; who needs it asks again, and is told what was wrong.
    const { settledBytes: known = 0, stepBytes = 0 } = newest ?? {}
    if ((takenBytes - known) * 2 > stepBytes) void lookAgain().catch(() => undefined)
    return true
  }
  return {
    settled: (bytes) => void (settledBytes += bytes),
    takeNow,
    take: async (bytes) => {
      for (let tries = 0; ; tries++) {
        if (takeNow(bytes)) return true
        if (verdict(bytes) === 'full') return false
        // What is on its way has to arrive before another look says more.
        if (tries > 0) await sleep(pauseMs)
        await lookAgain()
      }
    },
  }
}

function sizeOf(subject: string, body: Uint8Array | string, { headers }: AppendOptions = {}): number {
  const head = headers === undefined ? 0 : JSON.stringify(headers).length
  return Buffer.byteLength(body) + subject.length + head + aroundBytes
}
