import type { HttpDeps, Route } from './http-app.ts'
import { problem } from './http-problem.ts'

const tenantShape = /^[a-z0-9][a-z0-9-]{0,31}$/

/** The whole story of a trace, from the audit stream. */
export function traceRoutes({ queries }: HttpDeps): readonly Route[] {
  return [
    {
      path: '/api/v1/traces/:id',
      methods: {
        GET: async (c) => {
          const tenant = c.req.query('tenant')
          if (tenant !== undefined && !tenantShape.test(tenant))
            return problem(c, 'invalid', '"tenant" must be 1 to 32 of a-z, 0-9 and -')
          const trace = await queries.trace(c.req.param('id') ?? '', tenant)
          if (trace === undefined) return problem(c, 'not_found', 'no job on record has this trace id')
          return c.json(trace)
        },
      },
    },
  ]
}
