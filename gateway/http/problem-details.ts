import type { ResolveCode } from '../resolve.ts'

/** RFC 9457 problem details; `code` is stable, `detail` is for people. */
export type ProblemDetails = {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly code: string
  readonly detail: string
}

/** One mapping for HTTP and NATS, so that a refusal reads the same on both. */
const resolveProblems: Record<ResolveCode, readonly [number, string]> = {
  not_found: [404, 'No such job'],
  self_approval: [403, 'Nobody decides about an own job'],
  not_an_approver: [403, 'This approval does not count your word'],
  already_voted: [409, 'Everybody decides once'],
  already_claimed: [409, 'Somebody is on it'],
  constraints_widen: [409, 'An approver may only narrow limits'],
  binding_required: [428, 'A decision names what it is about'],
  note_required: [422, 'This approval needs a note'],
  too_early: [409, 'This approval is not possible yet'],
  stale_binding: [409, 'The decision is bound to something else than what is parked'],
  rebound: [409, 'The job was parked again under another requirement'],
  denied_now: [409, 'The policy denies this job now'],
  already_resolved: [409, 'Somebody decided first'],
  not_cancellable: [409, 'The job cannot be cancelled any more'],
  expired: [410, 'The approval expired'],
  stopped: [409, 'An operator has stopped this'],
  too_large: [413, 'There is no room for this on the record'],
  unavailable: [503, 'The decision could not be carried out now'],
}

/** Every code that a decision, a claim or a cancellation may be refused with. */
export const resolveCodes = Object.keys(resolveProblems) as readonly ResolveCode[]

export function resolveProblem(code: ResolveCode, detail: string): ProblemDetails {
  const [status, title] = resolveProblems[code]
  return { type: 'about:blank', title, status, code, detail }
}

export function invalidProblem(detail: string): ProblemDetails {
  return { type: 'about:blank', title: 'The request cannot be read', status: 400, code: 'invalid', detail }
}

export function noSuchThing(detail: string): ProblemDetails {
  return { type: 'about:blank', title: 'There is no such thing', status: 404, code: 'not_found', detail }
}

export function unavailableProblem(detail: string): ProblemDetails {
  return { type: 'about:blank', title: 'Not now', status: 503, code: 'unavailable', detail }
}
