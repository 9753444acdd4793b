import { setTimeout as sleep } from 'node:timers/promises'
import { removeLeftCopies, type WaitingStream } from './copies.ts'
import type { Io } from './io.ts'
import { trailingJob } from './subjects.ts'

/** Looks through what waits after every (re)connect. */
export type Sweep = { stop(): void }

const streams: readonly WaitingStream[] = ['APPROVALS', 'THROTTLED']
const retryAfterMs = 5_000

/**
 * A server that was killed may bring back copies that were removed: 2.9 keeps removals in memory until it writes its
 * index. Their messages are acknowledged, so nobody would look at them again; they would fill the queue and keep the bytes
 * of jobs that have long ended. One read for each waiting job, one at a time, behind everything else.
 */
export function startSweep(io: Io): Sweep {
  let running = true
  let asked = 0
  const sweep = async (): Promise<void> => {
    const mine = ++asked
    const current = (): boolean => running && mine === asked
    while (current()) {
      try {
        for (const stream of streams) await sweepStream(io, stream, current)
        return
      } catch (err) {
        io.log.warn({ err }, 'the waiting copies could not be looked through, again soon')
        await sleep(retryAfterMs, undefined, { ref: false })
      }
    }
  }
  io.bus.onReconnect(() => void sweep()) // Catches everything itself.
  void sweep()
  return { stop: () => void (running = false) }
}

async function sweepStream(io: Io, stream: WaitingStream, current: () => boolean): Promise<void> {
  for (const subject of await subjectsIn(io, stream)) {
    if (!current()) return
    const job = trailingJob(subject)
    const last = job === undefined ? undefined : await io.chain.last(job)
    if (last !== undefined) await removeLeftCopies(io, last)
  }
}

/** The server tells them in pages. */
async function subjectsIn(io: Io, stream: WaitingStream): Promise<string[]> {
  const all: string[] = []
  for (;;) {
    const info = await io.bus.request(`$JS.API.STREAM.INFO.${stream}`, {
      subjects_filter: '>',
      offset: all.length,
    })
    const { subjects } = info['state'] as { readonly subjects?: Readonly<Record<string, number>> }
    const page = Object.keys(subjects ?? {})
    all.push(...page)
    if (page.length === 0 || all.length >= Number(info['total'] ?? 0)) return all
  }
}
