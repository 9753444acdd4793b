import type { Handler } from 'hono'
import type { Queries } from '../queries/queries.ts'
import type { Refusals } from '../refusals.ts'

/** One path and what each method on it does. */
export type Route = {
  readonly path: string
  readonly methods: Readonly<Partial<Record<'GET' | 'POST', Handler>>>
}

/** One thing that must be true for the gateway to be of use, or that a reader of `/readyz?verbose` wants to know. */
export type ReadyCheck = { readonly name: string; readonly ok: boolean; readonly detail: string }

/** What routes need beside `io`. */
export type HttpDeps = {
  readonly queries: Queries
  readonly refusals: Refusals
  readonly ready: () => readonly ReadyCheck[]
  /** Looks at what the gauges show, so that a scrape says what is true now. */
  readonly measure: () => Promise<void>
}
