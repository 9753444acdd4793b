import { shortHash } from '../policy/digest.ts'
import type { JobId } from '../policy/job-id.ts'
import type { Policy } from '../policy/rule.ts'
import type { Bus } from './bus/bus.ts'
import { budgetSubject } from './subjects.ts'

/** How many jobs of a rule may run at once, over all gateways: one list of running jobs per rule, changed by compare-and-set. */
export type Running = {
  /** True if the job has (or now gets) a place of each rule until `untilMs`; false leaves nothing taken that was not before. */
  enter(places: readonly Place[], job: JobId, untilMs: number, nowMs: number): Promise<boolean>
  leave(rules: readonly string[], job: JobId): Promise<void>
}

export type Place = { readonly ruleId: string; readonly max: number }

type Entry = readonly [job: string, untilMs: number]

const conflictsMax = 30

/** The places that a job needs: one of every matching rule that limits concurrency, each with its own limit. */
export function placesOf(policy: Policy, matched: readonly string[]): readonly Place[] {
  const all = limitedPlaces(policy)
  if (all.length === 0) return all
  const ids = new Set(matched)
  return all.filter(({ ruleId }) => ids.has(ruleId))
}

const limited = new WeakMap<Policy, readonly Place[]>()

/** Every rule that limits concurrency; a policy may have very many rules and hardly ever has many of these. */
function limitedPlaces(policy: Policy): readonly Place[] {
  const known = limited.get(policy)
  if (known !== undefined) return known
  const made = policy.rules.flatMap(({ id, constraints }) =>
    constraints?.max_concurrency === undefined ? [] : [{ ruleId: id, max: constraints.max_concurrency }],
  )
  limited.set(policy, made)
  return made
}

export function createRunning(bus: Bus): Running {
  const change = async (
    ruleId: string,
    to: (running: readonly Entry[]) => readonly Entry[] | undefined,
  ): Promise<boolean> => {
    const subject = budgetSubject(`c${shortHash(ruleId)}`)
    for (let attempt = 0; attempt < conflictsMax; attempt++) {
      const stored = await bus.last('KV_gov_budget', subject)
      const running = stored === undefined ? [] : readEntries(stored.body)
      const next = to(running)
      if (next === undefined) return false
      if (next === running) return true
      const appended = await bus.append(subject, JSON.stringify(next), { expect: stored?.sequence ?? 0 })
      if (appended.type === 'stored') return true
      // No room to write it down: nobody gets a place, and who would leave one keeps it until its time is over.
      if (appended.type === 'refused') return false
    }
    throw new Error(`the places of ${ruleId} are contended`)
  }
  const leave = async (rules: readonly string[], job: JobId): Promise<void> => {
    for (const ruleId of rules)
      await change(ruleId, (running) =>
        running.some(([one]) => one === job) ? running.filter(([one]) => one !== job) : running,
      )
  }
  return {
    leave,
    enter: async (places, job, untilMs, nowMs) => {
      const entered: string[] = []
      for (const { ruleId, max } of places) {
        const got = await change(ruleId, (running) => {
          // An entry past its time belongs to a job whose end was recorded by a gateway that died before it left.
          const others = running.filter(([one, until]) => one !== job && until > nowMs)
          return others.length < max ? [...others, [job, untilMs]] : undefined
        })
        if (!got) {
          await leave(entered, job)
          return false
        }
        entered.push(ruleId)
      }
      return true
    },
  }
}

function readEntries(body: Uint8Array): readonly Entry[] {
  return JSON.parse(Buffer.from(body).toString()) as readonly Entry[]
}
