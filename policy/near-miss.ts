import type { DecisionType } from './evaluate.ts'
import { evaluate } from './evaluate.ts'
import { clausesOf, formulaHolds, not, type Clause } from './formula.ts'
import type { Job } from './job.ts'
import type { Condition, Policy, Rule } from './rule.ts'
import { changedJob, type Change } from './change.ts'
import { outcomeOf } from './severity.ts'

/** A rule that nearly matched: what kept it from it, and what would have to be different for another outcome. */
export type NearMiss = {
  readonly rule_id: string
  readonly decision: DecisionType
  readonly failed: readonly FailedClause[]
  /** Absent where no change helps that we would suggest: never to name fewer risk tags. */
  readonly change?: {
    readonly edits: readonly string[]
    readonly outcome: { readonly type: DecisionType; readonly rule_id: string }
  }
}

/** `clause` is its place in the rule: `match.topics`, `unless`. */
export type FailedClause = { readonly clause: string; readonly wanted: string; readonly found: string }

const nearMissesMax = 5

/** The rules that came closest without matching, those that something can be done about first. */
export function nearMisses(policy: Policy, job: Job, nowMs: number): readonly NearMiss[] {
  const now = evaluate(policy, job, { nowMs, granted: [] })
  const matched = new Set(now.decision.matched)
  const candidates = policy.rules
    .filter((rule) => !matched.has(rule.id))
    .map((rule) => ({ rule, failed: failedClauses(policy, rule, job, nowMs) }))
    .toSorted((a, b) => a.failed.length - b.failed.length || (a.rule.id < b.rule.id ? -1 : 1))
  const closest = candidates[0]?.failed.length ?? 0
  // What fails in two respects more than the closest rule is another subject, not a near miss.
  const near = candidates.filter(({ failed }) => failed.length <= closest + 1).slice(0, nearMissesMax * 4)
  return near
    .map(({ rule, failed }) => nearMiss(policy, rule, failed, job, nowMs, now.decision.type))
    .toSorted((a, b) => weight(a) - weight(b))
    .slice(0, nearMissesMax)
}

function weight({ change, failed }: NearMiss): number {
  return 2 * failed.length + (change === undefined ? 1 : 0)
}

type Failed = {
  readonly place: string
  readonly clause: Clause | undefined
  readonly unless: Condition | null
}

function failedClauses(policy: Policy, rule: Rule, job: Job, nowMs: number): readonly Failed[] {
  const failed: Failed[] = clausesOf(rule.match, policy.derivations)
    .filter(({ formula }) => !formulaHolds(formula, job, nowMs))
    .map((clause) => ({ place: `match.${clause.name}`, clause, unless: null }))
  if (rule.unless === null) return failed
  const excepted = clausesOf(rule.unless, policy.derivations).every(({ formula }) =>
    formulaHolds(formula, job, nowMs),
  )
  return excepted ? [...failed, { place: 'unless', clause: undefined, unless: rule.unless }] : failed
}

function nearMiss(
  policy: Policy,
  rule: Rule,
  failed: readonly Failed[],
  job: Job,
  nowMs: number,
  before: DecisionType,
): NearMiss {
  const changes: Change[] = []
  let suggestable = true
  const told = failed.map(({ place, clause, unless }): FailedClause => {
    const wanted = clause === undefined ? (unless ?? {}) : rule.match
    const change =
      clause === undefined ? exception(policy, unless ?? {}, job, nowMs) : changedJob(clause, job, nowMs)
    if (change === undefined) suggestable = false
    else changes.push(change)
    return { clause: place, ...wantedAndFound(place, wanted, policy, job) }
  })
  const base = { rule_id: rule.id, decision: outcomeOf[rule.decision], failed: told }
  if (!suggestable) return base
  let next = { job, nowMs }
  for (const change of changes) next = change.apply(next)
  const after = evaluate(policy, next.job, { nowMs: next.nowMs, granted: [] }).decision
  if (after.type === before) return base
  const { type, rule_id } = after
  return { ...base, change: { edits: changes.map(({ text }) => text), outcome: { type, rule_id } } }
}

/** An exception stops applying with any one of its clauses; the first that can be suggested is as small as any other. */
function exception(policy: Policy, unless: Condition, job: Job, nowMs: number): Change | undefined {
  for (const clause of clausesOf(unless, policy.derivations)) {
    // What makes an exception of a tag is only ever lost by more tags; that is not looked for here.
    if (clause.name === 'risk_tags') continue
    const change = changedJob({ ...clause, formula: not(clause.formula) }, job, nowMs)
    if (change !== undefined) return change
  }
  return undefined
}

function wantedAndFound(
  place: string,
  condition: Condition,
  policy: Policy,
  job: Job,
): { wanted: string; found: string } {
  const name = place.replace(/^match\./, '')
  const derived = (): readonly string[] => evaluate(policy, job, { nowMs: 0, granted: [] }).tags.derived
  const list = (words: readonly string[] | undefined): string => (words ?? []).join(', ')
  switch (name) {
    case 'topics':
      return { wanted: list(condition.topics), found: job.topic }
    case 'tenants':
      return { wanted: list(condition.tenants), found: job.tenant }
    case 'actors':
      return { wanted: list(condition.actors), found: job.agent }
    case 'actor_types':
      return { wanted: list(condition.actorTypes), found: job.actorType ?? 'agent' }
    case 'capabilities':
      return { wanted: list(condition.capabilities), found: job.capability ?? 'none' }
    case 'risk_tags':
      return {
        wanted: tagsText(condition),
        found: list([...new Set([...job.riskTags, ...derived()])]) || 'no tags',
      }
    case 'size':
      return { wanted: JSON.stringify(condition.size), found: `${job.bytes} bytes` }
    case 'time':
      return { wanted: timeText(condition), found: 'now' }
    case 'unless':
      return { wanted: 'not the exception', found: 'the exception' }
    default:
      return placeText(name, condition, job)
  }
}

function tagsText({ riskTags }: Condition): string {
  if (riskTags?.empty === true) return 'no tags at all'
  const { any, all, none } = riskTags ?? {}
  const parts = [
    any === undefined ? [] : [`any of ${any.join(', ')}`],
    all === undefined ? [] : [`all of ${all.join(', ')}`],
    none === undefined ? [] : [`none of ${none.join(', ')}`],
  ]
  return parts.flat().join('; ')
}

function timeText({ time }: Condition): string {
  if (time === undefined) return ''
  const clock = (minute: number): string =>
    `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`
  return `${time.days.join(', ')} ${clock(time.fromMinute)}-${clock(time.toMinute)} ${time.zone}`
}

function placeText(name: string, condition: Condition, job: Job): { wanted: string; found: string } {
  if (name.startsWith('labels.')) {
    const key = name.slice('labels.'.length)
    const { key: _key, ...test } = condition.labels?.find((one) => one.key === key) ?? { key }
    return { wanted: JSON.stringify(test), found: JSON.stringify(job.labels.get(key) ?? null) }
  }
  const pointer = name.slice('payload.'.length)
  const test = condition.payload?.find((one) => one.pointer === pointer)?.test
  // What stands in a payload may be a secret; that it did not pass is all that is said.
  return { wanted: JSON.stringify(test), found: 'something else, or nothing' }
}
