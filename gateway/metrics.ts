import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { EventName, State } from '../audit/lifecycle.ts'
import type { Decision } from '../policy/evaluate.ts'
import type { Config } from './config/config.ts'

/**
 * What this gateway counts, under names that dashboards rely on (docs/http.md lists them). Labels are bounded: by the
 * policy, the topology or our own code; job ids and trace ids are never labels.
 */
export type Metrics = {
  /** A first decision on a job was stored. */
  decided(decision: Decision): void
  dispatched(pool: string): void
  /** An attempt that must not succeed was refused; `code` is one of our own words. */
  refused(code: string): void
  /** Somebody was not let in over HTTP. */
  httpAuthFailed(reason: AuthFailure): void
  /** A job was let go on later than a second after an order to stop that covers it. */
  lateAfterStop(): void
  evaluated(seconds: number): void
  evaluationFailed(): void
  /** A record was appended to a job's chain; `from` is the state it left. */
  moved(event: EventName, from: State): void
  setApprovals(pending: number, oldestAgeSeconds: number): void
  /** How many wait in each tenant at each level, as far as this gateway has read the trail. */
  setWaiting(
    waiting: readonly { readonly tenant: string; readonly level: string; readonly count: number }[],
  ): void
  setFailMode(mode: Config['failMode']): void
  /** 0 is empty, 1 is full. */
  setStreamFullness(stream: string, ratio: number): void
  setConnected(up: boolean): void
  /** The snapshot in force, and whether the newest attempt to load a policy succeeded. */
  setPolicy(snapshot: string, reloadOk: boolean): void
  /** The Prometheus text of everything. */
  text(): Promise<string>
  readonly contentType: string
}

/** Why somebody was not let in: no token, none of ours, not (any more) in the file, past its time, or without the role. */
export type AuthFailure = 'missing' | 'malformed' | 'unknown' | 'expired' | 'forbidden'

/**
 * Refusals that nobody reaches who goes the way everybody goes: another's name, token, pool or approval, or a result after
 * its time. One of them may be a slow worker, many of them are somebody.
 */
const bypassCodes: ReadonlySet<string> = new Set([
  'bad-token',
  'foreign-subject',
  'foreign-tenant',
  'late-result',
  'never-dispatched',
  'not_an_approver',
  'self_approval',
  'stale-attempt',
  'unknown-job',
  'wrong-pool',
])

/** A rule id beyond so many is counted as `other`: a policy may have tens of thousands of rules, a scrape may not. */
const ruleIdsMax = 1_000

const evaluationBuckets = [0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 2]

/** Creates all metrics on a registry of their own, so that two gateways in one process do not mix. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const countDecision = tally(
    {
      name: 'sluice_decisions_total',
      help: 'First decisions on jobs, by outcome and the rule that it is named after.',
      labelNames: ['decision', 'rule_id'],
    },
    registers,
    (key) => ({ decision: key.slice(0, key.indexOf(' ')), rule_id: key.slice(key.indexOf(' ') + 1) }),
  )
  const countDispatch = tally(
    {
      name: 'sluice_dispatches_total',
      help: 'Attempts handed to a worker pool, redeliveries included.',
      labelNames: ['pool'],
    },
    registers,
    (pool) => ({ pool }),
  )
  const refusals = new Counter({
    name: 'sluice_refused_total',
    help: 'Acts that were refused, by code.',
    labelNames: ['code'] as const,
    registers,
  })
  const bypass = new Counter({
    name: 'sluice_bypass_attempts_total',
    help: 'Refused acts that only an attempt to go round the gate produces. Above 0 somebody should look.',
    registers,
  })
  const authFailures = new Counter({
    name: 'sluice_http_auth_failures_total',
    help: 'HTTP requests that were not let in, by what was wrong with the token.',
    labelNames: ['reason'] as const,
    registers,
  })
  const late = new Counter({
    name: 'sluice_late_after_stop_total',
    help: 'Jobs that were let go on later than a second after an order to stop. Above 0 somebody should look.',
    registers,
  })
  const duration = new Histogram({
    name: 'sluice_evaluation_duration_seconds',
    help: 'Time the policy took to decide one job.',
    buckets: evaluationBuckets,
    registers,
  })
  const evaluationErrors = new Counter({
    name: 'sluice_evaluation_errors_total',
    help: 'Evaluations that threw; each is a recorded denial unless the fail mode is open.',
    registers,
  })
  const countEvent = tally(
    {
      name: 'sluice_job_events_total',
      help: 'Records appended to job chains, by event.',
      labelNames: ['event'],
    },
    registers,
    (event) => ({ event }),
  )
  const expired = new Counter({
    name: 'sluice_approvals_expired_total',
    help: 'Approvals that nobody resolved in time; the jobs were not run.',
    registers,
  })
  const gauges = createGauges(registers)
  const ruleIds = new Set<string>()
  const boundedRuleId = (ruleId: string): string => {
    if (ruleIds.has(ruleId)) return ruleId
    if (ruleIds.size >= ruleIdsMax) return 'other'
    ruleIds.add(ruleId)
    return ruleId
  }
  return {
    decided: ({ type, rule_id }) => countDecision(`${type} ${boundedRuleId(rule_id)}`),
    dispatched: (pool) => countDispatch(pool),
    refused: (code) => {
      refusals.inc({ code })
      if (bypassCodes.has(code)) bypass.inc()
    },
    httpAuthFailed: (reason) => authFailures.inc({ reason }),
    lateAfterStop: () => late.inc(),
    evaluated: (seconds) => duration.observe(seconds),
    evaluationFailed: () => evaluationErrors.inc(),
    moved: (event, from) => {
      countEvent(event)
      if (event === 'expired' && from === 'PARKED') expired.inc()
    },
    ...gauges,
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}

/** A counter by one key, which `labelsOf` reads at a scrape: the library's own look-up of labels costs more than the rest of a count. */
function tally<Label extends string>(
  options: { readonly name: string; readonly help: string; readonly labelNames: readonly Label[] },
  registers: Registry[],
  labelsOf: (key: string) => Record<Label, string>,
): (key: string) => void {
  const fresh = new Map<string, number>()
  const counter: Counter<Label> = new Counter({
    ...options,
    registers,
    collect: () => {
      for (const [key, count] of fresh) counter.inc(labelsOf(key), count)
      fresh.clear()
    },
  })
  return (key) => void fresh.set(key, (fresh.get(key) ?? 0) + 1)
}

type Gauges = Pick<
  Metrics,
  'setApprovals' | 'setWaiting' | 'setFailMode' | 'setStreamFullness' | 'setConnected' | 'setPolicy'
>

function createGauges(registers: Registry[]): Gauges {
  const pending = new Gauge({
    name: 'sluice_approvals_pending',
    help: 'Jobs that wait for a person.',
    registers,
  })
  const oldest = new Gauge({
    name: 'sluice_approval_oldest_age_seconds',
    help: 'How long the job that has waited longest for a person has waited; 0 when none waits.',
    registers,
  })
  const waiting = new Gauge({
    name: 'sluice_approvals_waiting',
    help: 'Jobs that wait for a person, by tenant and by the level of their approval.',
    labelNames: ['tenant', 'level'] as const,
    registers,
  })
  const failMode = new Gauge({
    name: 'sluice_fail_mode',
    help: '1 for the mode in force: what happens to a job when no decision can be made.',
    labelNames: ['mode'] as const,
    registers,
  })
  const fullness = new Gauge({
    name: 'sluice_stream_fullness_ratio',
    help: 'How full a stream is, 0 to 1. A full intake stream refuses jobs, and plain publishers get no signal.',
    labelNames: ['stream'] as const,
    registers,
  })
  const connected = new Gauge({
    name: 'sluice_nats_connected',
    help: '1 while the connection to NATS is up.',
    registers,
  })
  const policy = new Gauge({
    name: 'sluice_policy_info',
    help: '1 for the snapshot of the policy in force.',
    labelNames: ['snapshot'] as const,
    registers,
  })
  const reload = new Gauge({
    name: 'sluice_policy_last_reload_success',
    help: '1 if the newest policy file loaded, 0 if an older policy is still in force because it did not.',
    registers,
  })
  return {
    setApprovals: (count, oldestAgeSeconds) => {
      pending.set(count)
      oldest.set(oldestAgeSeconds)
    },
    setWaiting: (counts) => {
      for (const { tenant, level, count } of counts) waiting.set({ tenant, level }, count)
    },
    setFailMode: (mode) => {
      failMode.set({ mode: 'closed' }, mode === 'closed' ? 1 : 0)
      failMode.set({ mode: 'open' }, mode === 'open' ? 1 : 0)
    },
    setStreamFullness: (stream, ratio) => fullness.set({ stream }, ratio),
    setConnected: (up) => connected.set(up ? 1 : 0),
    setPolicy: (snapshot, reloadOk) => {
      policy.reset()
      policy.set({ snapshot }, 1)
      reload.set(reloadOk ? 1 : 0)
    },
  }
}
