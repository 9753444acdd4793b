import type { Role } from './tokens-file.ts'

/**
 * What a route asks of its caller: nothing, or one of the roles. `tenants: 'all'` is for what reaches everybody and so
 * needs a caller who does; anywhere else a caller sees its own tenants, and the rest does not exist.
 */
export type Access = 'anybody' | { readonly roles: readonly Role[]; readonly tenants: 'own' | 'all' }

const own = (...roles: readonly Role[]): Access => ({ roles, tenants: 'own' })
const all = (...roles: readonly Role[]): Access => ({ roles, tenants: 'all' })

/**
 * Every route there is; one without a line here is not served. Payloads and outputs are for viewers and approvers: an
 * auditor reads what is on record, and on record there are none.
 */
export const access: Readonly<Record<string, Access>> = {
  'GET /healthz': 'anybody',
  'GET /readyz': 'anybody',
  'GET /api/v1/keys': 'anybody',
  // On a loopback address these two are open.
  'GET /readyz?verbose': own('viewer', 'operator', 'auditor'),
  'GET /metrics': own('viewer', 'operator', 'auditor'),

  'POST /api/v1/jobs': own('agent'),
  'GET /api/v1/jobs/:id': own('agent', 'viewer', 'approver'),
  'POST /api/v1/jobs/:id/cancel': own('agent', 'operator'),

  'GET /api/v1/approvals': own('viewer', 'approver'),
  'GET /api/v1/approvals/:id': own('viewer', 'approver'),
  'POST /api/v1/approvals/:id/approve': own('approver'),
  'POST /api/v1/approvals/:id/reject': own('approver'),
  'POST /api/v1/approvals/:id/claim': own('approver'),

  'GET /api/v1/traces/:id': own('viewer', 'approver', 'auditor'),

  'GET /api/v1/control': own('viewer', 'approver', 'operator', 'auditor'),
  'POST /api/v1/control/stop': own('operator'),
  'POST /api/v1/control/resume': own('operator'),

  'POST /api/v1/policy/evaluate': own('agent', 'viewer', 'approver', 'operator'),
  'POST /api/v1/policy/explain': own('agent', 'viewer', 'approver', 'operator'),
  'POST /api/v1/policy/simulate': own('viewer', 'approver', 'operator'),
  'GET /api/v1/policy/snapshots': all('operator', 'auditor'),
  'GET /api/v1/policy/snapshots/:snapshot': all('operator', 'auditor'),
  'POST /api/v1/policy/rollback': all('operator'),
  'POST /api/v1/policy/shadow': all('operator'),
}

/** What a route asks for; a route that the table does not know must not start to be served. */
export function accessOf(method: string, path: string): Access {
  const found = Object.hasOwn(access, `${method} ${path}`) ? access[`${method} ${path}`] : undefined
  if (found === undefined) throw new Error(`nothing says who may call ${method} ${path}`)
  return found
}
