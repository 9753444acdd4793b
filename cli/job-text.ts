import type { Answer } from '../audit/answer.ts'
import type { State } from '../audit/lifecycle.ts'
import type { Constraints } from '../policy/constraints.ts'
import { durationText } from './duration-text.ts'
import type { Terminal } from './terminal.ts'
import { visible } from './visible.ts'

/** A job as the API shows it: the answer to its submission, and later what became of it. */
export type ShownJob = Answer & {
  readonly topic?: string
  readonly attempts?: number
  readonly deadline?: string
  readonly limit?: string
  readonly by?: string
  readonly note?: string
  readonly resolution?: { readonly decision: string; readonly by: string; readonly note: string }
  readonly result?: {
    readonly status: string
    readonly action: string
    readonly worker: string
    readonly findings: readonly {
      readonly detector: string
      readonly count: number
      readonly action: string
    }[]
    readonly body: unknown
    readonly encoding: string | null
  } | null
}

/** What a person wants to know about a job, one fact on a line. */
export function jobText(job: ShownJob, terminal: Terminal): string[] {
  const { decision, approval, resolution, result } = job
  const facts: [string, string | undefined][] = [
    ['topic', job.topic],
    ['decision', `${decision.type} by ${decision.rule_id}: ${decision.reason}`],
    ['limits', limitsText(decision.constraints)],
    ['expires', approval === undefined ? undefined : untilText(approval.expires_at, terminal.nowMs())],
    [
      'approval',
      resolution === undefined ? undefined : `${resolution.decision} by ${resolution.by}: ${resolution.note}`,
    ],
    [
      job.state === 'DENIED' ? 'retry' : 'runs at',
      job.retry_after_ms === undefined ? undefined : `in ${durationText(job.retry_after_ms)} at the earliest`,
    ],
    ['attempts', job.attempts === undefined || job.attempts === 0 ? undefined : String(job.attempts)],
    ['ended by', job.by === undefined ? job.limit : `${job.by}: ${job.note ?? ''}`],
    [
      'result',
      result === undefined || result === null
        ? undefined
        : `${result.status} from ${result.worker}, output: ${result.action}`,
    ],
    [
      'findings',
      result?.findings.map(({ detector, count, action }) => `${detector} ${count}x ${action}`).join(', '),
    ],
    ['trace', job.trace_id],
    ['next', nextText(job)],
  ]
  return [
    `${job.job_id}  ${stateText(job.state, terminal)}`,
    ...facts.flatMap(([name, value]) =>
      value === undefined || value === '' ? [] : [`  ${name.padEnd(9)} ${visible(value)}`],
    ),
  ]
}

/** The released output as it may be shown; undefined if there is none. */
export function outputText({ result }: ShownJob): string | undefined {
  if (result === undefined || result === null || result.encoding === null) return undefined
  if (result.encoding === 'json') return JSON.stringify(result.body, null, 2)
  return String(result.body)
}

/** `max_runtime_sec 45, max_retries 1`. */
export function limitsText(constraints: Constraints | null): string | undefined {
  if (constraints === null) return undefined
  return Object.entries(constraints)
    .map(([name, value]) => `${name} ${Array.isArray(value) ? value.join(' ') : String(value)}`)
    .join(', ')
}

/** `2030-01-01T00:00:00.000Z (in 3m 12s)`. */
export function untilText(time: string, nowMs: number): string {
  const leftMs = Date.parse(time) - nowMs
  return `${time} (${leftMs > 0 ? `in ${durationText(leftMs)}` : 'over'})`
}

const colours: Readonly<Record<string, number>> = { good: 32, bad: 31, waiting: 33 }

/** A state, coloured where the terminal can. */
export function stateText(state: State, terminal: Pick<Terminal, 'colour'>): string {
  return terminal.colour ? `\u001b[${colours[kindOf(state)]}m${state}\u001b[0m` : state
}

function kindOf(state: State): string {
  switch (state) {
    case 'SUCCEEDED':
      return 'good'
    case 'RECEIVED':
    case 'THROTTLED':
    case 'PARKED':
    case 'DISPATCHED':
    case 'JOINED':
      return 'waiting'
    case 'QUARANTINED':
    case 'DENIED':
    case 'REJECTED':
    case 'EXPIRED':
    case 'DROPPED':
    case 'FAILED':
    case 'TIMED_OUT':
    case 'CANCELLED':
      return 'bad'
  }
}

function nextText(job: ShownJob): string {
  switch (job.next) {
    case 'wait':
      return job.state === 'PARKED'
        ? `a person decides: sluice approval approve ${job.job_id}`
        : `sluice job watch ${job.job_id}`
    case 'retry':
      return 'try again'
    case 'change_request':
      return 'change the job: as it is, it will always be refused'
    case 'ask_human':
      return 'ask the owner of the policy'
    case 'stop':
      return ''
  }
}
