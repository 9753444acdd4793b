import { heldMs, stopFor, type Stop, type StopScope, type Stoppable } from '../../policy/stop.ts'
import { shortHash } from '../../policy/digest.ts'
import type { Bus } from '../bus/bus.ts'
import { BusError } from '../bus/message.ts'
import { openStops, type Stops } from './stops.ts'
import { auditControlSubject } from '../subjects.ts'

/**
 * The kill switch. An order holds from the moment it is stored in a bucket that every gateway reads several times a second,
 * and is on record right after. Whoever enables a job needs a reading that is younger than `leaseMs` when what it sends
 * leaves the process, so that no gateway acts on an order it has not seen.
 */
export type Control = {
  /** The stop that covers the job, by a young reading; throws when there is none to be had. */
  stopped(job: Stoppable, fresh: boolean): Promise<Stop | undefined>
  /**
   * Until when, by `performance.now()`, something that lets the job go on may leave this process. Undefined: a stop covers
   * the job, or nobody knows whether one does.
   */
  leaveBy(job: Stoppable, fresh: boolean): number | undefined
  /** Reads the orders now. */
  read(): Promise<void>
  /** How long stops have held the job since `fromMs`. */
  heldMs(job: Stoppable, fromMs: number, nowMs: number): number
  stops(): readonly Stop[]
  /** `too-many`: there is no room for another one. */
  stop(order: Order): Promise<Stop | 'too-many'>
  /** One stage on: `draining` lets go on what waits, `resumed` takes new jobs again. Undefined: there is no such stop. */
  resume(wish: Resumption): Promise<Stop | undefined>
  close(): void
}

/** `key` names the request, where several gateways hear the same one: whoever comes second finds it carried out. */
export type Order = {
  readonly scope: StopScope
  readonly by: string
  readonly reason: string
  readonly key?: string
}
export type Resumption = {
  readonly id: string
  readonly stage: 'draining' | 'resumed'
  readonly by: string
  readonly reason: string
}

/** Readings come every `readEveryMs`; one that is older than this is not decided on any more. */
const freshMs = 400
/**
 * With the way to the server this must stay below a second: what leaves later than this after a reading was asked for may
 * be stored more than a second after an order that the reading did not show.
 */
const leaseMs = 600
/** Lifted stops are kept as long as a waiting job may need them for its clock. */
const keptMs = 31 * 24 * 3_600_000
/** So many may hold at once. All of them together must fit into one message. */
const stopsMax = 300
/** Of them those of tenants, and of one tenant: whoever may stop one tenant must not take the room of the others, nor of everybody's. */
const stopsOfTenantsMax = 250
const stopsOfTenantMax = 50
/** Of lifted ones the newest stay: to stop must be possible however often it was done before. */
const liftedMax = 200
/** An order that has stood for so long without its record belongs to a gateway that died, or was stopped, in between. */
const recordAfterMs = 1_000

export async function openControl(
  bus: Bus,
  gateway: string,
  nowMs: () => number,
  onError: (error: unknown) => void,
): Promise<Control> {
  const missing = new Map<string, number>()
  const stops = await openStops(bus, (read) => completeRecords(read))
  const record = (type: string, data: object, messageId: string): Promise<{ sequence: number }> =>
    putOnRecord(bus, { type, data, messageId, gateway, nowMs })
  /** The order holds already; its record says so to everybody who asks later. Doing it twice is doing it once. */
  const putStopOnRecord = async (stop: Stop): Promise<Stop> => {
    const { sequence } = await record('sluice.control.stopped.v1', stop, `stop.${stop.id}`)
    const recorded_at_ms = (await bus.get('AUDIT', sequence))?.timeMs ?? nowMs()
    await stops.change((now) => now.map((one) => (one.id === stop.id ? { recorded_at_ms, ...one } : one)))
    return { ...stop, recorded_at_ms }
  }
  function completeRecords(read: readonly Stop[]): void {
    const now = performance.now()
    const open = read.filter(({ recorded_at_ms }) => recorded_at_ms === undefined)
    for (const id of missing.keys()) if (!open.some((stop) => stop.id === id)) missing.delete(id)
    for (const stop of open) {
      const since = missing.get(stop.id) ?? now
      missing.set(stop.id, since)
      if (now - since < recordAfterMs) continue
      missing.set(stop.id, now)
      putStopOnRecord(stop).catch(onError)
    }
  }
  return {
    read: stops.read,
    stops: stops.all,
    close: stops.close,
    heldMs: (job, fromMs, now) => heldMs(stops.all(), job, fromMs, now),
    stopped: async (job, fresh) => {
      if (stops.ageMs() > freshMs) await stops.read()
      return stopFor(stops.all(), job, fresh)
    },
    leaveBy: (job, fresh) => {
      const leftMs = leaseMs - stops.ageMs()
      if (leftMs <= 0 || stopFor(stops.all(), job, fresh) !== undefined) return undefined
      return performance.now() + leftMs
    },
    stop: async (order) => {
      const { scope, by, reason } = order
      const at_ms = nowMs()
      const id = shortHash(order.key ?? `${JSON.stringify(scope)}:${at_ms}:${by}`)
      const stop = await store(stops, { id, scope, by, reason, at_ms })
      if (stop === undefined) return 'too-many'
      if (stop.recorded_at_ms !== undefined) return stop
      return putStopOnRecord(stop).catch((error: unknown) => {
        onError(error)
        throw new BusError('the order holds, but it is not on record yet: the gateways go on trying', 503)
      })
    },
    resume: async (wish) => {
      await stops.read()
      const stop = stops.all().find(({ id }) => id === wish.id)
      if (stop === undefined || isDone(stop, wish)) return stop
      const { id, stage, by, reason } = wish
      // Letting go on is the other way round: nothing is enabled before it is on record who wanted it.
      await record(`sluice.control.${stage}.v1`, { id, by, reason }, `${stage}.${id}`)
      await stops.change((now) => now.map((one) => (one.id === id ? lifted(one, stage, nowMs()) : one)))
      return stops.all().find((one) => one.id === id)
    },
  }
}

/** Stores the order, unless it stands there already; the stored one counts. Undefined: there is no room for it. */
async function store(stops: Stops, stop: Stop): Promise<Stop | undefined> {
  let full = false
  await stops.change((now) => {
    if (now.some(({ id }) => id === stop.id)) return now
    const holding = now.filter((one) => one.resumed_at_ms === undefined)
    full = !hasRoom(holding, tenantOf(stop))
    if (full) return now
    const gone = now.filter(({ resumed_at_ms: at }) => at !== undefined && at > stop.at_ms - keptMs)
    const kept = new Set([...holding, ...gone.slice(-liftedMax)])
    return [...now.filter((one) => kept.has(one)), stop]
  })
  return full ? undefined : (stops.all().find(({ id }) => id === stop.id) ?? stop)
}

function hasRoom(holding: readonly Stop[], tenant: string | undefined): boolean {
  if (holding.length >= stopsMax) return false
  if (tenant === undefined) return true
  const tenants = holding.map(tenantOf).filter((one) => one !== undefined)
  return (
    tenants.length < stopsOfTenantsMax && tenants.filter((one) => one === tenant).length < stopsOfTenantMax
  )
}

const tenantOf = ({ scope }: Stop): string | undefined => ('tenant' in scope ? scope.tenant : undefined)

const isDone = (stop: Stop, { stage }: Resumption): boolean =>
  stop.resumed_at_ms !== undefined || (stage === 'draining' && stop.draining_at_ms !== undefined)

function lifted(stop: Stop, stage: Resumption['stage'], at: number): Stop {
  const draining = { ...stop, draining_at_ms: stop.draining_at_ms ?? at }
  return stage === 'draining' ? draining : { ...draining, resumed_at_ms: stop.resumed_at_ms ?? at }
}

type Fact = {
  readonly type: string
  readonly data: object
  /** Within the dedupe window of AUDIT the same fact is stored once, however many gateways say it. */
  readonly messageId: string
  readonly gateway: string
  readonly nowMs: () => number
}

async function putOnRecord(
  bus: Bus,
  { type, data, messageId, gateway, nowMs }: Fact,
): Promise<{ sequence: number }> {
  const time = new Date(nowMs()).toISOString()
  const body = JSON.stringify({ specversion: '1.0', type, source: `urn:sluice:${gateway}`, time, data })
  const appended = await bus.append(auditControlSubject, body, { messageId })
  if (appended.type !== 'stored') throw new BusError('AUDIT refused the order', 503)
  return appended
}
