import { heldMs, stopFor, type Stop, type StopScope, type Stoppable } from '../policy/stop.ts'
import { shortHash } from '../policy/digest.ts'
import type { Bus } from './bus.ts'
import { auditControlSubject } from './subjects.ts'

/**
 * The kill switch. The order is on record first, then in a bucket that every gateway reads several times a second; whoever
 * enables a job asks for a reading that is younger than `freshMs`, so that no gateway acts on an order it has not seen.
 */
export type Control = {
  /** The stop that covers the job, by a reading young enough to act on; throws when there is none to be had. */
  stopped(job: Stoppable, fresh: boolean): Promise<Stop | undefined>
  /** How long stops have held the job since `fromMs`. */
  heldMs(job: Stoppable, fromMs: number, nowMs: number): number
  stops(): readonly Stop[]
  stop(order: Order): Promise<Stop>
  /** One stage on: `draining` lets go on what waits, `resumed` takes new jobs again. Undefined: there is no such stop. */
  resume(id: string, stage: 'draining' | 'resumed', by: string, reason: string): Promise<Stop | undefined>
  close(): void
}

export type Order = { readonly scope: StopScope; readonly by: string; readonly reason: string }

const subject = '$KV.gov_control.stops'
const stream = 'KV_gov_control'
const readEveryMs = 200
const freshMs = 600
const conflictsMax = 20
/** Lifted stops are kept as long as a waiting job may need them for its clock. */
const keptMs = 31 * 24 * 3_600_000
const stopsMax = 1_000

export async function openControl(bus: Bus, gateway: string, nowMs: () => number): Promise<Control> {
  let stops: readonly Stop[] = []
  let readAtMs = -Infinity
  let reading: Promise<void> | undefined

  const read = (): Promise<void> => {
    reading ??= (async () => {
      // The clock is taken before the question: an order stored while it travels must not count as seen.
      const askedAtMs = performance.now()
      const stored = await bus.last(stream, subject)
      stops = stored === undefined ? [] : decode(stored.body)
      readAtMs = askedAtMs
    })().finally(() => (reading = undefined))
    return reading
  }
  const change = async (to: (stops: readonly Stop[]) => readonly Stop[]): Promise<void> => {
    for (let attempt = 0; attempt < conflictsMax; attempt++) {
      const stored = await bus.last(stream, subject)
      const next = to(stored === undefined ? [] : decode(stored.body))
      if (next.length > stopsMax) throw new Error('too many stops: resume some first')
      const appended = await bus.append(subject, JSON.stringify(next), { expect: stored?.sequence ?? 0 })
      if (appended.type === 'stored') return read()
      if (appended.type === 'refused') throw new Error(`the order could not be stored: ${appended.detail}`)
    }
    throw new Error('the stops are contended')
  }
  const record = async (type: string, data: object): Promise<void> => {
    const time = new Date(nowMs()).toISOString()
    const body = JSON.stringify({ specversion: '1.0', type, source: `urn:sluice:${gateway}`, time, data })
    const appended = await bus.append(auditControlSubject, body)
    if (appended.type !== 'stored') throw new Error('AUDIT refused the order: nothing was changed')
  }
  const timer = setInterval(() => void read().catch(() => undefined), readEveryMs)
  timer.unref()
  await read()
  return {
    stops: () => stops,
    heldMs: (job, fromMs, now) => heldMs(stops, job, fromMs, now),
    stopped: async (job, fresh) => {
      if (performance.now() - readAtMs > freshMs) await read()
      return stopFor(stops, job, fresh)
    },
    stop: async ({ scope, by, reason }) => {
      const at_ms = nowMs()
      const stop: Stop = {
        id: shortHash(`${JSON.stringify(scope)}:${at_ms}:${by}`),
        scope,
        by,
        reason,
        at_ms,
      }
      await record('sluice.control.stopped.v1', stop)
      await change((now) => [...now.filter((one) => (one.resumed_at_ms ?? at_ms) > at_ms - keptMs), stop])
      return stop
    },
    resume: async (id, stage, by, reason) => {
      await read()
      if (!stops.some((stop) => stop.id === id)) return undefined
      const at = nowMs()
      await record(`sluice.control.${stage}.v1`, { id, by, reason })
      await change((now) =>
        now.map((stop) => {
          if (stop.id !== id) return stop
          const draining = { ...stop, draining_at_ms: stop.draining_at_ms ?? at }
          return stage === 'draining' ? draining : { ...draining, resumed_at_ms: stop.resumed_at_ms ?? at }
        }),
      )
      return stops.find((stop) => stop.id === id)
    },
    close: () => clearInterval(timer),
  }
}

function decode(body: Uint8Array): readonly Stop[] {
  return JSON.parse(Buffer.from(body).toString()) as readonly Stop[]
}
