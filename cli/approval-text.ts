import type { ApprovalItem } from '../gateway/queries/approval-item.ts'
import { durationText } from './duration-text.ts'
import { tableText } from './table-text.ts'
import type { Terminal } from './terminal.ts'
import { visible } from './visible.ts'
import { wrapText } from './wrap-text.ts'

/** What waits: what, who, why, how long it may still take. One line each, or two where the terminal is too narrow for that. */
export function approvalsText(items: readonly ApprovalItem[], terminal: Terminal): string[] {
  const nowMs = terminal.nowMs()
  const rows = items.map((item) => [
    item.job_id,
    item.state,
    item.job.topic,
    `${item.job.tenant}/${item.job.actor}`,
    (item.job.risk_tags ?? []).join(','),
    item.rule_id,
    leftText(item, nowMs),
    (item.resolved_at === undefined ? claimText(item.claim, nowMs) : undefined) ?? '',
  ])
  const table = tableText([['JOB', 'STATE', 'TOPIC', 'ASKED BY', 'TAGS', 'RULE', 'LEFT', 'ON IT'], ...rows])
  if (table.every((line) => line.length <= terminal.columns)) return table
  return rows.flatMap(
    ([job = '', state = '', topic = '', by = '', tags = '', rule = '', left = '', onIt = '']) => [
      visible(`${job}  ${state}  ${left}${onIt === '' ? '' : `  ${onIt}`}`),
      ...wrapText(visible(`${topic}  ${by}  ${tags}  ${rule}`), terminal.columns - 2).map(
        (text) => `  ${text}`,
      ),
    ],
  )
}

/** `ana for 14m`; undefined when nobody says to be on it. */
export function claimText(claim: ApprovalItem['claim'], nowMs: number): string | undefined {
  const leftMs = claim === undefined ? 0 : Date.parse(claim.until) - nowMs
  return claim === undefined || leftMs <= 0 ? undefined : `${claim.by} for ${durationText(leftMs)}`
}

function leftText(item: ApprovalItem, nowMs: number): string {
  if (item.resolved_at !== undefined) return '-'
  const leftMs = Date.parse(item.expires_at) - nowMs
  return leftMs > 0 ? durationText(leftMs) : 'over'
}
