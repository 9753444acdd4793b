import { subjectMatches } from './topic.ts'

/** What a stop covers. */
export type StopScope =
  | { readonly kind: 'all' }
  | { readonly kind: 'tenant'; readonly tenant: string }
  | { readonly kind: 'agent'; readonly tenant: string; readonly agent: string }
  | { readonly kind: 'topic'; readonly pattern: string }

/**
 * An order to stop. While it holds, nothing it covers is dispatched. It is lifted in two stages: first what had been
 * accepted before may go on (`draining`), then new jobs are taken again (`resumed`).
 */
export type Stop = {
  readonly id: string
  readonly scope: StopScope
  readonly by: string
  readonly reason: string
  readonly at_ms: number
  /** When the record of the order was stored, by the server's clock. */
  readonly recorded_at_ms?: number
  readonly draining_at_ms?: number
  readonly resumed_at_ms?: number
}

export type Stoppable = { readonly tenant: string; readonly agent: string; readonly topic: string }

export function covers(scope: StopScope, job: Stoppable): boolean {
  switch (scope.kind) {
    case 'all':
      return true
    case 'tenant':
      return scope.tenant === job.tenant
    case 'agent':
      return scope.tenant === job.tenant && scope.agent === job.agent
    case 'topic':
      return subjectMatches(scope.pattern, job.topic)
  }
}

/** The stop that keeps this job from running; `fresh` jobs stay out until the stop is lifted wholly. */
export function stopFor(stops: readonly Stop[], job: Stoppable, fresh: boolean): Stop | undefined {
  return stops.find(
    (stop) =>
      stop.resumed_at_ms === undefined &&
      (fresh || stop.draining_at_ms === undefined) &&
      covers(stop.scope, job),
  )
}

/**
 * For how long since `fromMs` stops have held this job, in milliseconds: its waiting time stands still meanwhile. Stops that
 * overlap count once.
 */
export function heldMs(stops: readonly Stop[], job: Stoppable, fromMs: number, nowMs: number): number {
  const spans = stops
    .filter((stop) => covers(stop.scope, job))
    .map((stop) => ({
      from: Math.max(fromMs, stop.at_ms),
      to: Math.min(nowMs, stop.draining_at_ms ?? stop.resumed_at_ms ?? nowMs),
    }))
    .filter(({ from, to }) => to > from)
    .toSorted((a, b) => a.from - b.from)
  let held = 0
  let reachedMs = -Infinity
  for (const { from, to } of spans) {
    held += Math.max(0, to - Math.max(from, reachedMs))
    reachedMs = Math.max(reachedMs, to)
  }
  return held
}
