import type { HttpDeps, ReadyCheck, Route } from './route.ts'
import { queryFlag } from './body.ts'
import type { Io } from '../io.ts'

/** What a load balancer, a scraper and a supervisor ask; no payloads, no names of agents, so no guard. */
export function healthRoutes(io: Io, deps: HttpDeps): readonly Route[] {
  return [
    { path: '/healthz', methods: { GET: (c) => c.json({ status: 'ok' }) } },
    {
      path: '/readyz',
      methods: {
        GET: (c) => {
          const checks = deps.ready()
          const failing = checks.filter(({ ok }) => !ok).map(({ name }) => name)
          const ready = failing.length === 0
          const answer =
            queryFlag(c, 'verbose', false) === true
              ? { ready, ...verbose(io, deps, checks) }
              : { ready, failing }
          return c.json(answer, ready ? 200 : 503)
        },
      },
    },
    {
      path: '/metrics',
      methods: {
        GET: async (c) => {
          await deps.measure()
          return c.body(await io.metrics.text(), 200, { 'Content-Type': io.metrics.contentType })
        },
      },
    },
  ]
}

function verbose(io: Io, deps: HttpDeps, checks: readonly ReadyCheck[]): object {
  const { config } = io
  const index = { name: 'index', ok: true, detail: deps.queries.caughtUp() ? 'complete' : 'being made' }
  return {
    gateway: config.gateway,
    profile: config.profile,
    fail_mode: config.failMode,
    fail_open_topics: config.failOpenTopics,
    decision_timeout_ms: config.decisionTimeoutMs,
    policy_snapshot: io.policy().snapshot,
    checks: [...checks, index],
  }
}
