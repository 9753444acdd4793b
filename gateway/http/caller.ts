import type { Context } from 'hono'
import { parseJobId, type JobId } from '../../policy/job-id.ts'
import type { Submitter } from '../submit.ts'
import { problem } from './problem.ts'
import { roles, type Role, type TokenEntry } from './tokens-file.ts'

/** Who calls and what that opens; from the credential alone, never from a header or body that says so. */
export type Caller = {
  /** On record as `by`. */
  readonly principal: string
  readonly roles: readonly Role[]
  readonly tenants: TokenEntry['tenants']
  /** Whose jobs are submitted; undefined for people. */
  readonly submits: Submitter | undefined
}

/** Who calls in the `dev` profile: nobody is authenticated, so everybody is the demo agent and the demo approver, and more. */
export const devCaller: Caller = {
  principal: 'demo-approver',
  roles,
  tenants: 'all',
  submits: { tenant: 'default', agent: 'demo' },
}

declare module 'hono' {
  interface ContextVariableMap {
    caller: Caller | undefined
  }
}

/** Who calls. A route that is reached without a caller is a mistake of ours, and fails. */
export function callerOf(c: Context): Caller {
  const caller = c.get('caller')
  if (caller === undefined) throw new Error('a route was reached by nobody')
  return caller
}

/** Whether what belongs to a tenant exists for this caller at all. */
export function reaches({ tenants }: Caller, tenant: string): boolean {
  return tenants === 'all' || tenants.includes(tenant)
}

/** The one agent whose jobs exist for this caller, if it is no more than an agent. */
export function onlyAgent(caller: Caller): string | undefined {
  return caller.roles.every((role) => role === 'agent') ? caller.submits?.agent : undefined
}

/** The job id in the path, or the answer that says what is wrong with it. A job of another tenant is one that never was. */
export function jobIdIn(c: Context): { readonly id: JobId } | { readonly response: Response } {
  const text = c.req.param('id') ?? ''
  const id = parseJobId(text)
  if (id === undefined) {
    const hint = /^<.*>$/.test(text)
      ? 'this is the placeholder of the example: put a job id in its place'
      : 'a job id is <tenant>.<id>'
    const detail = `${hint}, such as items[].job_id of GET /api/v1/approvals`
    return { response: problem(c, 'not_found', detail) }
  }
  if (!reaches(callerOf(c), id.slice(0, id.indexOf('.'))))
    return { response: problem(c, 'not_found', 'there is no such job') }
  return { id }
}
