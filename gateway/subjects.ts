import { parseJobId, type JobId } from '../policy/job-id.ts'

/**
 * Every subject the gateway uses, built and parsed here only. A job's two tokens are `<tenant>.<id>`;
 * pools are parsed from the left, attempt and job from the right, because a topic may have any number of tokens.
 */

/** `topic` is the public one, `job.a.b`; on the bus it stands without its first token. */
const bare = (topic: string): string => topic.slice('job.'.length)

export const auditSubject = (job: JobId): string => `audit.${job}`
export const refusedSubject = (job: JobId): string => `audit._refused.${job}`
export const auditPolicySubject = 'audit._policy'
export const auditControlSubject = 'audit._control'
export const commandSubject = (job: JobId): string => `gov.command.${job}`
export const pendingSubject = (job: JobId): string => `approvals.pending.${job}`
export const noticeSubject = (event: string, job: JobId): string => `approvals.notify.${event}.${job}`
export const throttledSubject = (job: JobId): string => `gov.throttled.${job}`
export const quarantineSubject = (job: JobId): string => `gov.quarantine.${job}`
export const budgetSubject = (key: string): string => `$KV.gov_budget.${key}`

export const askedSubject = (tenant: string, fingerprint: string): string =>
  `$KV.gov_asked.${tenant}.${fingerprint}`

export const httpSubject = (tenant: string, agent: string, topic: string): string =>
  `http.${tenant}.${agent}.${bare(topic)}`
export const dispatchSubject = (pool: string, topic: string, job: JobId, attempt: number): string =>
  `gov.dispatch.${pool}.${bare(topic)}.${job}.${attempt}`
export const decisionSubject = (agent: string, job: JobId): string => {
  const [tenant, id] = splitJob(job)
  return `decision.${tenant}.${agent}.${id}`
}
export const outputSubject = (agent: string, job: JobId): string => {
  const [tenant, id] = splitJob(job)
  return `output.${tenant}.${agent}.${id}`
}

/** `[tenant, id]`: a job id has exactly one dot. */
export function splitJob(job: JobId): [string, string] {
  const dot = job.indexOf('.')
  return [job.slice(0, dot), job.slice(dot + 1)]
}

export type Submission = { readonly tenant: string; readonly agent: string; readonly topic: string }

/** `job.<tenant>.<agent>.<topic...>` or `http....`; the topic may still be anything and is checked by the caller. */
export function parseSubmission(subject: string): Submission | undefined {
  const first = subject.indexOf('.')
  const second = subject.indexOf('.', first + 1)
  const third = subject.indexOf('.', second + 1)
  if (first < 0 || second < 0 || third < 0) return undefined
  const door = subject.slice(0, first)
  if (door !== 'job' && door !== 'http') return undefined
  const tenant = subject.slice(first + 1, second)
  return { tenant, agent: subject.slice(second + 1, third), topic: `job.${subject.slice(third + 1)}` }
}

export type ResultSubject = { readonly pool: string; readonly worker: string; readonly job: JobId }

/** `result.<pool>.<worker>.<tenant>.<id>`. */
export function parseResult(subject: string): ResultSubject | undefined {
  const [first, pool, worker, tenant, id, ...rest] = subject.split('.')
  const job = parseJobId(`${tenant}.${id}`)
  if (first !== 'result' || !pool || !worker || job === undefined || rest.length > 0) return undefined
  return { pool, worker, job }
}

/** The job in the last two tokens, as on `gov.command.`, `approvals.pending.`, `gov.throttled.`; `skip` more stand behind it. */
export function trailingJob(subject: string, skip = 0): JobId | undefined {
  let end = subject.length
  for (let skipped = 0; skipped < skip; skipped++) end = subject.lastIndexOf('.', end - 1)
  const dot = subject.lastIndexOf('.', end - 1)
  return parseJobId(subject.slice(subject.lastIndexOf('.', dot - 1) + 1, end))
}

/** `approvals.resolve.<approver>.<tenant>.<id>`. */
export function parseResolve(
  subject: string,
): { readonly approver: string; readonly job: JobId } | undefined {
  const [first, second, approver, tenant, id, ...rest] = subject.split('.')
  const job = parseJobId(`${tenant}.${id}`)
  if (first !== 'approvals' || second !== 'resolve' || !approver || job === undefined || rest.length > 0)
    return undefined
  return { approver, job }
}

const controlVerbs = ['stop', 'resume', 'list'] as const

/** `control.<operator>.<verb>`. */
export function parseControl(
  subject: string,
): { readonly operator: string; readonly verb: (typeof controlVerbs)[number] } | undefined {
  const [first, operator, word, ...rest] = subject.split('.')
  const verb = controlVerbs.find((one) => one === word)
  if (first !== 'control' || !operator || verb === undefined || rest.length > 0) return undefined
  return { operator, verb }
}
