import type { HttpDeps, Route } from './route.ts'
import { callerOf, reaches } from './caller.ts'
import { problem } from './problem.ts'
import type { Io } from '../io.ts'

const tenantShape = /^[a-z0-9][a-z0-9-]{0,31}$/

/** The whole story of a trace, from the audit stream. */
export function traceRoutes({ topology }: Io, { queries }: HttpDeps): readonly Route[] {
  return [
    {
      path: '/api/v1/traces/:id',
      methods: {
        GET: async (c) => {
          const tenant = c.req.query('tenant')
          if (tenant !== undefined && !tenantShape.test(tenant))
            return problem(c, 'invalid', '"tenant" must be 1 to 32 of a-z, 0-9 and -')
          const caller = callerOf(c)
          const asked = tenant === undefined ? topology.tenants.map(({ name }) => name) : [tenant]
          const tenants = asked.filter((name) => reaches(caller, name))
          const trace = await queries.trace(c.req.param('id') ?? '', tenants)
          if (trace === undefined) return problem(c, 'not_found', 'no job on record has this trace id')
          return c.json(trace)
        },
      },
    },
  ]
}
