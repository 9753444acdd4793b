import type { Facts } from '../../policy/evaluate.ts'
import type { Job } from '../../policy/job.ts'
import type { ConditionFile, PolicyFile, RuleFile } from '../../policy/schema.ts'

/**
 * The language as a person would explain it, straight from the file as written and without any thought for speed: the
 * specification that the index is held against. It shares no code with the evaluator.
 */
export type NaiveOutcome = {
  readonly type: string
  readonly ruleId: string
  readonly matched: readonly string[]
  readonly derived: readonly string[]
  readonly tier: string | undefined
  readonly throttles: readonly string[]
  readonly approvers: readonly string[]
  readonly care: NaiveCare | undefined
}

/** What the rules that ask for approval come to together, in the file's own units made milliseconds. */
export type NaiveCare = {
  readonly expires: number
  readonly remind: number | undefined
  readonly wait: number
  readonly level: string
  /** Sorted texts, each once. */
  readonly escalations: readonly string[]
}

export function naiveEvaluate(files: readonly PolicyFile[], job: Job, facts: Facts): NaiveOutcome {
  const derivations = files.flatMap((file) => file.tags ?? [])
  const derived = new Set<string>()
  for (const { add, match, unless } of derivations) {
    if (!holds(match, job, [], facts.nowMs)) continue
    if (unless !== undefined && holds(unless, job, [], facts.nowMs)) continue
    for (const tag of add) derived.add(tag)
  }
  const tags = [...job.riskTags, ...derived]
  const matching = files
    .flatMap((file) => file.rules.map((rule) => ({ rule, overlay: file.overlay })))
    .filter(({ overlay }) => overlay === undefined || overlay.tenants.includes(job.tenant))
    .filter(({ rule }) => covers(rule, job, tags, facts.nowMs))
    .sort((a, b) => (a.rule.id < b.rule.id ? -1 : 1))
  const ids = (decision: RuleFile['decision']) =>
    matching.filter(({ rule }) => rule.decision === decision).map(({ rule }) => rule.id)
  const tier = ['critical', 'high', 'medium', 'low'].find((name) =>
    files.some((file) => tags.some((tag) => file.risk_tiers?.[name as 'low']?.includes(tag))),
  )
  const waiting = ids('throttle').filter((id) => !facts.granted.includes(id))
  const outcome = (type: string, ruleId: string | undefined): NaiveOutcome => ({
    type,
    ruleId: ruleId ?? 'nobody',
    matched: matching.map(({ rule }) => rule.id),
    derived: [...derived].sort(),
    tier,
    throttles: type === 'DENY' ? [] : waiting,
    approvers: type === 'DENY' ? [] : ids('require_approval'),
    care: type === 'DENY' ? undefined : care(matching.map(({ rule }) => rule)),
  })
  if (ids('deny').length > 0) return outcome('DENY', ids('deny')[0])
  if (matching.every(({ overlay }) => overlay !== undefined)) return outcome('DENY', 'sluice.no-match')
  if (waiting.length > 0) return outcome('THROTTLE', waiting[0])
  if (ids('require_approval').length > 0) return outcome('REQUIRE_APPROVAL', ids('require_approval')[0])
  if (ids('allow_with_constraints').length > 0)
    return outcome('ALLOW_WITH_CONSTRAINTS', ids('allow_with_constraints')[0])
  return outcome('ALLOW', matching[0]?.rule.id)
}

function care(matching: readonly RuleFile[]): NaiveCare | undefined {
  const asking = matching.filter(({ decision }) => decision === 'require_approval')
  if (asking.length === 0) return undefined
  let expires = Infinity
  let remind: number | undefined
  let wait = 0
  let level = 'normal'
  const escalations = new Set<string>()
  for (const { approval = {} } of asking) {
    expires = Math.min(expires, ms(approval.expires_in ?? '1h'))
    if (approval.remind_at !== undefined) remind = Math.min(remind ?? Infinity, ms(approval.remind_at))
    wait = Math.max(wait, ms(approval.wait_at_least ?? '0s'))
    if (approval.level === 'critical' || (approval.level === 'high' && level === 'normal'))
      level = approval.level
    const written = approval.escalate_to ?? []
    for (const { after, ...who } of Array.isArray(written) ? written : [written])
      for (const [kind, names] of Object.entries(who))
        escalations.add(escalationText(kind, names ?? [], ms(after)))
  }
  return { expires, remind, wait, level, escalations: [...escalations].sort() }
}

export function escalationText(kind: string, names: readonly string[], afterMs: number): string {
  return `${kind} ${[...new Set(names)].sort().join(',')} after ${afterMs}`
}

function ms(text: string): number {
  const unit = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 }[text.replace(/\d+/, '')]
  return Number.parseInt(text) * (unit ?? NaN)
}

function covers(rule: RuleFile, job: Job, tags: readonly string[], nowMs: number): boolean {
  if (!holds(rule.match, job, tags, nowMs)) return false
  return rule.unless === undefined || !holds(rule.unless, job, tags, nowMs)
}

function holds(asked: ConditionFile, job: Job, tags: readonly string[], nowMs: number): boolean {
  const listed = (list: readonly string[] | undefined, value: string | undefined) =>
    list === undefined || (value !== undefined && list.includes(value))
  return (
    (asked.topics === undefined ||
      asked.topics.some((pattern) => covered(pattern.split('.'), job.topic.split('.')))) &&
    listed(asked.tenants, job.tenant) &&
    listed(asked.actors, job.agent) &&
    listed(asked.actor_types, job.actorType ?? 'agent') &&
    listed(asked.capabilities, job.capability) &&
    tagsHold(asked.risk_tags, tags) &&
    Object.entries(asked.labels ?? {}).every(([key, test]) => labelHolds(test, job.labels.get(key))) &&
    Object.entries(asked.payload ?? {}).every(([pointer, test]) =>
      valueHolds(test, find(job.payload, pointer)),
    ) &&
    (asked.size === undefined || numberHolds(asked.size, job.bytes)) &&
    (asked.time === undefined || timeHolds(asked.time, nowMs))
  )
}

function covered(pattern: readonly string[], tokens: readonly string[]): boolean {
  const [head, ...rest] = pattern
  if (head === undefined) return tokens.length === 0
  if (head === '>') return tokens.length > 0
  return tokens.length > 0 && (head === '*' || head === tokens[0]) && covered(rest, tokens.slice(1))
}

function tagsHold(asked: ConditionFile['risk_tags'], tags: readonly string[]): boolean {
  if (asked === undefined) return true
  if (Array.isArray(asked))
    return asked.length === 0 ? tags.length === 0 : asked.some((tag) => tags.includes(tag))
  const { any, all, none } = asked
  if (any !== undefined && !any.some((tag) => tags.includes(tag))) return false
  if (all !== undefined && !all.every((tag) => tags.includes(tag))) return false
  return none === undefined || none.every((tag) => !tags.includes(tag))
}

function labelHolds(test: NonNullable<ConditionFile['labels']>[string], value: string | undefined): boolean {
  if (typeof test === 'string') return value === test
  if (test.present !== undefined) return test.present === (value !== undefined)
  if (value === undefined) return false
  if (test.equals !== undefined) return value === test.equals
  if (test.one_of !== undefined) return test.one_of.includes(value)
  return test.prefix !== undefined && value.slice(0, test.prefix.length) === test.prefix
}

function find(payload: unknown, pointer: string): { value: unknown } | undefined {
  let at: unknown = payload
  for (const step of pointer.slice(1).split('/')) {
    const key = step.replace(/~1/g, '/').replace(/~0/g, '~')
    if (at === null || typeof at !== 'object') return undefined
    if (Array.isArray(at) && String(Number(key)) !== key) return undefined
    if (!Object.prototype.hasOwnProperty.call(at, key)) return undefined
    at = Object.getOwnPropertyDescriptor(at, key)?.value
  }
  return at === undefined ? undefined : { value: at }
}

function valueHolds(
  test: NonNullable<ConditionFile['payload']>[string],
  found: { value: unknown } | undefined,
): boolean {
  if (test === null || typeof test !== 'object') return found?.value === test && found !== undefined
  if (test.exists !== undefined) return test.exists === (found !== undefined)
  if (found === undefined) return false
  if (test.equals !== undefined) return found.value === test.equals
  if (test.one_of !== undefined) return test.one_of.some((value) => value === found.value)
  if (test.prefix !== undefined)
    return typeof found.value === 'string' && found.value.indexOf(test.prefix) === 0
  return typeof found.value === 'number' && numberHolds(test, found.value)
}

function numberHolds(
  range: {
    at_least?: number | undefined
    above?: number | undefined
    at_most?: number | undefined
    below?: number | undefined
  },
  value: number,
): boolean {
  if (range.at_least !== undefined && value < range.at_least) return false
  if (range.above !== undefined && value <= range.above) return false
  if (range.at_most !== undefined && value > range.at_most) return false
  return range.below === undefined || value < range.below
}

/** Only zones without summer time, so that plain arithmetic is right. */
const offsetHours: Readonly<Record<string, number>> = { UTC: 0, 'Asia/Tokyo': 9, 'America/Phoenix': -7 }
const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const

function timeHolds(window: NonNullable<ConditionFile['time']>, nowMs: number): boolean {
  const local = new Date(nowMs + (offsetHours[window.zone] ?? NaN) * 3_600_000)
  const clock = local.toISOString().slice(11, 16)
  const allowed = (day: number) =>
    window.days === undefined || window.days.some((name) => name === days[day % 7])
  const from = window.from ?? '00:00'
  const to = window.to ?? '24:00'
  if (from < to) return clock >= from && clock < to && allowed(local.getUTCDay())
  return (clock >= from && allowed(local.getUTCDay())) || (clock < to && allowed(local.getUTCDay() + 6))
}
