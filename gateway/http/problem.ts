import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { ProblemDetails } from './problem-details.ts'

/** Every code of the API that is not a refused resolution (those stand in problem-details.ts), with status and title. */
export const problems = {
  invalid: [400, 'The request cannot be read'],
  invalid_json: [400, 'The body is not acceptable JSON'],
  invalid_job: [400, 'The body is not a job'],
  invalid_policy: [422, 'The policy does not load'],
  credentials_unsupported: [400, 'This gateway checks no credentials'],
  unauthenticated: [401, 'It is not known who calls'],
  forbidden: [403, 'The caller may not do this'],
  denied: [403, 'The policy denies the job'],
  identity_mismatch: [403, 'The job claims to be from somebody else'],
  origin_not_allowed: [403, 'Web pages of others may not call this API'],
  not_found: [404, 'There is no such thing'],
  no_such_path: [404, 'There is no such path'],
  method_not_allowed: [405, 'The path does not take this method'],
  idempotency_conflict: [409, 'The idempotency key stands for another job'],
  payload_too_large: [413, 'The request is too large'],
  unsupported_media_type: [415, 'The body must be JSON'],
  host_not_allowed: [421, 'The request is for another host'],
  rate_limited: [429, 'Too many requests'],
  throttled: [429, 'The job waits for room'],
  internal: [500, 'Internal error'],
  unavailable: [503, 'Not now'],
} as const satisfies Record<string, readonly [ContentfulStatusCode, string]>

export type ProblemName = keyof typeof problems

/** An RFC 9457 answer; `more` are extension members. */
export function problem(c: Context, name: ProblemName, detail: string, more: object = {}): Response {
  return sendProblem(c, problemDetails(name, detail), more)
}

export function problemDetails(name: ProblemName, detail: string): ProblemDetails {
  const [status, title] = problems[name]
  return { type: 'about:blank', title, status, code: name, detail }
}

/** The same for details that are made elsewhere. */
export function sendProblem(c: Context, details: ProblemDetails, more: object = {}): Response {
  const status = details.status as ContentfulStatusCode
  return c.body(JSON.stringify({ ...details, ...more }), status, {
    'Content-Type': 'application/problem+json',
  })
}
