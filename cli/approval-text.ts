import type { ApprovalItem } from '../gateway/queries-approvals.ts'
import { durationText } from './duration-text.ts'
import { limitsText, stateText, untilText } from './job-text.ts'
import { tableText } from './table-text.ts'
import type { Terminal } from './terminal.ts'
import { visible } from './visible.ts'

/** What waits, one line each: what, who, why, how long it may still take. */
export function approvalsText(items: readonly ApprovalItem[], terminal: Terminal): string[] {
  const rows = items.map((item) => [
    item.job_id,
    item.state,
    item.job.topic,
    `${item.job.tenant}/${item.job.actor}`,
    (item.job.risk_tags ?? []).join(','),
    item.rule_id,
    leftText(item, terminal.nowMs()),
  ])
  return tableText([['JOB', 'STATE', 'TOPIC', 'ASKED BY', 'TAGS', 'RULE', 'LEFT'], ...rows])
}

function leftText(item: ApprovalItem, nowMs: number): string {
  if (item.resolved_at !== undefined) return '-'
  const leftMs = Date.parse(item.expires_at) - nowMs
  return leftMs > 0 ? durationText(leftMs) : 'over'
}

const payloadLinesMax = 40
const payloadColumnsMax = 200

/** One approval, in the order in which somebody decides: what would run, who asks, why it is asked, until when. */
export function cardText(item: ApprovalItem, terminal: Terminal): string[] {
  const { job, resolution } = item
  const facts: [string, string | undefined][] = [
    ['asked by', `agent ${job.actor} of tenant ${job.tenant}`],
    ['why', `${item.reason} (${item.rule_id})`],
    ['risk', [item.risk_tier, ...(job.risk_tags ?? [])].filter((part) => part !== undefined).join(', ')],
    ['labels', pairs(job.labels)],
    ['limits', limitsText(item.constraints)],
    ['asked at', item.requested_at],
    [
      'expires',
      item.resolved_at === undefined
        ? `${untilText(item.expires_at, terminal.nowMs())}: then it does not run`
        : undefined,
    ],
    ['votes', item.votes.map(({ by, decision, note }) => `${by} ${decision}: ${note}`).join('; ')],
    [
      'resolved',
      resolution === undefined
        ? item.resolved_at
        : `${resolution.decision} by ${resolution.by}: ${resolution.note}`,
    ],
    ['job hash', item.job_hash],
    ['policy', item.policy_snapshot],
    ['trace', item.trace_id],
  ]
  return [
    `${item.job_id}  ${stateText(item.state, terminal)}`,
    `  ${visible(job.topic)}`,
    ...payloadText(job.payload),
    ...facts.flatMap(([name, value]) =>
      value === undefined || value === '' ? [] : [`  ${name.padEnd(9)} ${visible(value)}`],
    ),
  ]
}

/** The payload is the agent's text: bounded, and nothing in it is obeyed. */
function payloadText(payload: unknown): string[] {
  if (payload === null) return []
  const lines = JSON.stringify(payload, null, 2).split('\n')
  const shown = lines.slice(0, payloadLinesMax).map((line) => `    ${visible(cut(line))}`)
  return lines.length > payloadLinesMax
    ? [...shown, `    ... ${lines.length - payloadLinesMax} lines more (-o json shows all)`]
    : shown
}

function cut(line: string): string {
  return line.length > payloadColumnsMax
    ? `${line.slice(0, payloadColumnsMax)}... (${line.length} characters)`
    : line
}

function pairs(labels: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(', ')
}
