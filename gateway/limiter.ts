import { shortHash } from '../policy/digest.ts'
import { reserve } from '../policy/throttle.ts'
import type { Throttle } from '../policy/evaluate.ts'
import type { Bus } from './bus/bus.ts'
import { budgetSubject } from './subjects.ts'

/** A place in the window of a limit: from when the job may run, or until when there is none. */
export type Slot =
  | { readonly type: 'granted'; readonly notBeforeMs: number }
  | { readonly type: 'full'; readonly untilMs: number }

/** The limits that all gateways share: one value per key, changed by compare-and-set. */
export type Limiter = { take(throttle: Throttle, nowMs: number): Promise<Slot> }

type Asking = {
  readonly throttle: Throttle
  readonly nowMs: number
  resolve(slot: Slot): void
  reject(error: unknown): void
}

const conflictsMax = 20
/** A job starts a little after its slot began, never before: the window is longer by this, so that starts keep their distance too. */
const startsLateMs = 50

/**
 * Everybody who asks while a write is under way is answered by the next one, so a busy limit costs one write per round
 * trip and not one per job. Throws when the store does not answer: then nothing is decided.
 */
export function createLimiter(bus: Bus): Limiter {
  // Who asks while a key is here is served by the loop that runs for it; the key goes in the same breath as the loop ends.
  const queues = new Map<string, Asking[]>()
  const drain = async (key: string, queue: Asking[]): Promise<void> => {
    while (queue.length > 0) {
      const batch = queue.splice(0)
      try {
        const slots = await grant(bus, key, batch)
        for (const [index, asking] of batch.entries()) asking.resolve(slots[index] as Slot)
      } catch (error) {
        for (const asking of batch) asking.reject(error)
      }
    }
    queues.delete(key)
  }
  return {
    take: (throttle, nowMs) =>
      new Promise((resolve, reject) => {
        // The key may hold a label of the job: hashed, it is a subject token of bounded length and says nothing.
        const key = shortHash(throttle.key)
        const asking = { throttle, nowMs, resolve, reject }
        const queue = queues.get(key)
        if (queue !== undefined) return void queue.push(asking)
        const fresh = [asking]
        queues.set(key, fresh)
        void drain(key, fresh) // Rejects only those who asked.
      }),
  }
}

async function grant(bus: Bus, key: string, batch: readonly Asking[]): Promise<Slot[]> {
  const subject = budgetSubject(key)
  for (let attempt = 0; attempt < conflictsMax; attempt++) {
    const stored = await bus.last('KV_gov_budget', subject)
    let grants = stored === undefined ? [] : readGrants(stored.body)
    const slots = batch.map(({ throttle, nowMs }): Slot => {
      const { rate, perMs, maxWaitMs, burst } = throttle
      // What the longer windows add up to is ours and must not cost a job its place.
      const waitMs = maxWaitMs === 0 ? 0 : maxWaitMs + startsLateMs * (1 + Math.ceil(maxWaitMs / perMs))
      const reserved = reserve(grants, rate, perMs + startsLateMs, nowMs, waitMs, burst)
      if (!('grants' in reserved)) return { type: 'full', untilMs: reserved.fullUntilMs }
      grants = reserved.grants
      return { type: 'granted', notBeforeMs: reserved.grantedAtMs }
    })
    if (!slots.some(({ type }) => type === 'granted')) return slots
    const appended = await bus.append(subject, JSON.stringify({ grants }), { expect: stored?.sequence ?? 0 })
    if (appended.type === 'stored') return slots
    // No room for another counter, as when somebody counts by ever new labels: what cannot be counted has no place, and the job
    // waits or is denied as its limit says.
    if (appended.type === 'refused')
      return batch.map(({ throttle, nowMs }) => ({ type: 'full', untilMs: nowMs + throttle.perMs }))
  }
  throw new Error(`the limit ${key} is contended`)
}

function readGrants(body: Uint8Array): readonly number[] {
  const value = JSON.parse(Buffer.from(body).toString()) as { grants?: readonly number[] }
  return value.grants ?? []
}
