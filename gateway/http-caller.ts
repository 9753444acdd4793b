import type { Context } from 'hono'
import { parseJobId, type JobId } from '../policy/job-id.ts'
import { problem } from './http-problem.ts'

/** Who calls, in the `dev` profile: nobody is authenticated, so everybody is the demo agent and the demo approver. */
export const devCaller = { tenant: 'default', agent: 'demo', person: 'demo-approver' } as const

/** The job id in the path, or the answer that says what is wrong with it. */
export function jobIdIn(c: Context): { readonly id: JobId } | { readonly response: Response } {
  const text = c.req.param('id') ?? ''
  const id = parseJobId(text)
  if (id !== undefined) return { id }
  const hint = /^<.*>$/.test(text)
    ? 'this is the placeholder of the example: put a job id in its place'
    : 'a job id is <tenant>.<id>'
  return {
    response: problem(c, 'not_found', `${hint}, such as items[].job_id of GET /api/v1/approvals`),
  }
}
