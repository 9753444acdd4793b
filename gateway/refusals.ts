import type { JobId } from '../policy/job-id.ts'
import type { Io } from './io.ts'
import { BusError } from './bus/message.ts'
import { auditControlSubject, refusedSubject } from './subjects.ts'

/** Something that was attempted and must not be: evidence beside the chain, never in it. */
export type Refusal = {
  readonly job: JobId | undefined
  /** Who tried: an agent, worker or approver as the server authenticated it. */
  readonly principal: string
  /** Stable code, such as `late-result` or `stale_binding`. */
  readonly refuse: string
  readonly detail: string
  readonly cause: string
}

/** Evidence of refused acts that a flood cannot turn into a full disk. */
export type Refusals = {
  /** True while this principal may still have single records; beyond, its acts are only counted. */
  admit(principal: string): boolean
  record(refusal: Refusal): Promise<void>
  stop(): void
}

const perSecondMax = 10
/** So many at once are still recorded one by one: a person who tries things out is not a flood. */
const burstMax = 100
const summaryEveryMs = 60_000
const principalsMax = 10_000

type Count = { allowance: number; atMs: number; beyond: number }

/** At most `perSecondMax` single records a second for each principal after a burst; the rest is one summary record a minute. */
export function createRefusals(io: Pick<Io, 'bus' | 'nowMs' | 'metrics' | 'log' | 'config'>): Refusals {
  const counts = new Map<string, Count>()
  const admit = (principal: string): boolean => {
    const nowMs = io.nowMs()
    const count = counts.get(principal) ?? { allowance: burstMax, atMs: nowMs, beyond: 0 }
    if (!counts.has(principal) && counts.size < principalsMax) counts.set(principal, count)
    const earned = (Math.max(0, nowMs - count.atMs) * perSecondMax) / 1_000
    count.allowance = Math.min(burstMax, count.allowance + earned)
    count.atMs = nowMs
    if (count.allowance >= 1) {
      count.allowance--
      return true
    }
    count.beyond++
    return false
  }
  const event = (type: string, data: object): string =>
    JSON.stringify({
      specversion: '1.0',
      type,
      source: `urn:sluice:${io.config.gateway}`,
      time: new Date(io.nowMs()).toISOString(),
      data,
    })
  const summary = setInterval(() => {
    for (const [principal, { beyond }] of counts) {
      if (beyond === 0) continue
      const body = event('sluice.refused.summary.v1', {
        principal,
        count: beyond,
        seconds: summaryEveryMs / 1_000,
      })
      io.bus
        .append(auditControlSubject, body)
        .catch((err: unknown) => io.log.error({ err }, 'summary not stored'))
    }
    for (const [principal, count] of counts) {
      if (count.beyond === 0 && io.nowMs() - count.atMs > summaryEveryMs) counts.delete(principal)
      count.beyond = 0
    }
  }, summaryEveryMs)
  summary.unref()
  return {
    admit,
    record: async ({ job, principal, refuse, detail, cause }) => {
      if (!admit(principal)) return io.metrics.refused(refuse)
      const data = { job_id: job ?? null, principal, refuse, detail, cause }
      const subject = job === undefined ? auditControlSubject : refusedSubject(job)
      // The cause is the message id: a redelivery that is refused again is the same refusal.
      const appended = await io.bus.append(subject, event('sluice.refused.v1', data), {
        messageId: `refused.${cause}`,
      })
      // Thrown, so that the cause stays where it is until its evidence has room.
      if (appended.type === 'refused') throw new BusError(`AUDIT refused a refusal: ${appended.detail}`)
      if (appended.type === 'stored' && !appended.duplicate) io.metrics.refused(refuse)
    },
    stop: () => clearInterval(summary),
  }
}
