import type { RecordData } from '../../audit/record.ts'
import { levelOf } from '../../audit/approval.ts'
import type { ApprovalLevel } from '../../policy/rule.ts'

/** Whose job it is that waits for a person, and how much care its approval takes. */
export type WaitingFor = {
  readonly tenant: string
  readonly agent: string
  readonly level: ApprovalLevel
}

/** A job's newest record as far as this count goes; without `waits` the job waits for nobody (any more). */
export type WaitingRow = { readonly job: string; readonly waits?: WaitingFor }

/**
 * How many jobs wait for a person, by tenant and agent, as far as this gateway has read AUDIT: what others have parked in the last
 * moments is missing, and while the index is being made so is the past.
 */
export type Pending = {
  /** Any record of a job, in any order; the last one that was noted counts. */
  note(row: WaitingRow): void
  has(job: string): boolean
  ofTenant(tenant: string): number
  ofAgent(tenant: string, agent: string): number
  /** How many wait in each tenant at each level. */
  byLevel(): readonly { readonly tenant: string; readonly level: ApprovalLevel; readonly count: number }[]
}

export function createPending(): Pending {
  const jobs = new Map<string, WaitingFor>()
  const kinds = new Map<string, WaitingFor>()
  const counts = new Map<string, number>()
  const add = (key: string, by: 1 | -1): void => void counts.set(key, (counts.get(key) ?? 0) + by)
  const count = ({ tenant, agent, level }: WaitingFor, by: 1 | -1): void => {
    add(tenant, by)
    add(`${tenant} ${agent}`, by)
    add(`${tenant}  ${level}`, by)
  }
  const forget = (job: string): void => {
    const before = jobs.get(job)
    if (before === undefined) return
    jobs.delete(job)
    count(before, -1)
  }
  return {
    note: ({ job, waits }) => {
      forget(job)
      if (waits === undefined) return
      // One object for all jobs of a kind: a hundred thousand of them may wait.
      const key = `${waits.tenant} ${waits.agent} ${waits.level}`
      const kind = kinds.get(key) ?? waits
      kinds.set(key, kind)
      jobs.set(job, kind)
      count(kind, 1)
    },
    has: (job) => jobs.has(job),
    ofTenant: (tenant) => counts.get(tenant) ?? 0,
    ofAgent: (tenant, agent) => counts.get(`${tenant} ${agent}`) ?? 0,
    byLevel: () =>
      [...counts].flatMap(([key, number]) => {
        const [tenant = '', level] = key.split('  ')
        return level === undefined ? [] : [{ tenant, level: level as ApprovalLevel, count: number }]
      }),
  }
}

/** What a record says about who waits. */
export function waitingRow(data: RecordData): WaitingRow {
  const { job_id: job, tenant, actor, state, approval } = data
  if (state.to !== 'PARKED') return { job }
  return {
    job,
    waits: { tenant, agent: actor.id, level: approval === undefined ? 'normal' : levelOf(approval) },
  }
}
