import { setTimeout as sleep } from 'node:timers/promises'

import type { Io } from './io.ts'

/** What the gateway looks at regularly: how full the trail is, how long the oldest approval waits. */
export type Watch = {
  readonly intakeOpen: () => boolean
  readonly auditWarning: () => boolean
  /** Looks now, for at most a second: a scrape must come through while the bus hangs. Never rejects; the last numbers stay. */
  readonly look: () => Promise<void>
  stop(): void
}

const everyMs = 2_000
const lookWaitMs = 1_000
const auditWarnRatio = 0.8
/** Beyond this no new job is taken, so that those that run can still end on record. */
const auditStopRatio = 0.9

type Info = {
  readonly config: { readonly max_bytes: number; readonly max_msgs: number }
  readonly state: { readonly messages: number; readonly bytes: number; readonly first_ts: string }
}

export function startWatch(io: Io, streams: readonly string[]): Watch {
  let audit = 0
  const measure = async (): Promise<void> => {
    for (const stream of streams) {
      const { config, state } = (await io.bus.request(`$JS.API.STREAM.INFO.${stream}`)) as unknown as Info
      const ratio = Math.max(share(state.bytes, config.max_bytes), share(state.messages, config.max_msgs))
      io.metrics.setStreamFullness(stream, ratio)
      if (stream === 'AUDIT') audit = ratio
      if (stream === 'APPROVALS') {
        const ageMs = state.messages === 0 ? 0 : io.nowMs() - Date.parse(state.first_ts)
        io.metrics.setApprovals(state.messages, Math.max(0, ageMs / 1_000))
      }
    }
  }
  let last = Promise.resolve()
  let next: Promise<void> | undefined
  const look = (): Promise<void> => {
    const connected = io.bus.connected()
    io.metrics.setConnected(connected)
    io.metrics.setWaiting(io.pending.byLevel())
    if (!connected) return Promise.resolve()
    // Whoever asks gets a look that begins after the question; one that is under way may have seen less.
    next ??= last.then(() => {
      next = undefined
      last = measure().catch((err: unknown) => io.log.warn({ err }, 'streams could not be looked at'))
      return last
    })
    return Promise.race([next, sleep(lookWaitMs, undefined, { ref: false })])
  }
  const timer = setInterval(() => void look(), everyMs)
  timer.unref()
  void look()
  return {
    intakeOpen: () => audit < auditStopRatio,
    auditWarning: () => audit >= auditWarnRatio,
    look,
    stop: () => clearInterval(timer),
  }
}

const share = (used: number, max: number): number => (max > 0 ? used / max : 0)
