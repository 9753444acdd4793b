import { startReplay, type Flip, type ReplayReport } from '../audit/replay.ts'
import { parseDurationMs } from '../policy/duration.ts'
import { recordsOfFile, recordsOfStream } from './audit-records.ts'
import { exitCodes } from './exit-codes.ts'
import { readPolicy } from './policy-files.ts'
import { UsageError, type Call, type Subcommand } from './subcommand.ts'
import { tableText } from './table-text.ts'
import { visible } from './visible.ts'

export const policyReplay: Subcommand = {
  about: 'decide what is on record again, under another policy',
  help: `usage: sluice policy replay --policy FILE... [--since 7d] [--records FILE.jsonl]

Takes the decisions on record again under a policy, from what each record says the evaluator read: tags, labels, sizes, times,
granted slots, and how the payload's conditions came out. Says which would come out otherwise, by rule and agent with example
jobs, which rules are never hit, and which records cannot be replayed and why: a payload condition that the recorded policy
did not ask is not guessed. Denials that no policy took (sluice.stopped and the like) and waits for a free place are counted
apart. Exit code 0 if nothing would change, 1 if something would, or if nothing could be replayed.

  --policy FILE     the candidate; several times for several files
  --since TIME      how far back: 500ms, 10s, 5m, 1h, 7d; without it everything
  --records FILE    records from a file, one JSON line each; without it AUDIT of a running sluice dev, as its auditor

  sluice policy replay --policy candidate.yaml --since 7d
`,
  options: { policy: 'list', since: 'text', records: 'text' },
  words: { min: 0, max: 0 },
  run: replay,
}

async function replay(call: Call): Promise<number> {
  const files = call.lists['policy'] ?? []
  if (files.length === 0) throw new UsageError('say the candidate: --policy FILE')
  const { since, records } = call.text
  const sinceMs = since === undefined ? Infinity : parseDurationMs(since)
  if (sinceMs === undefined) throw new UsageError('--since is a duration such as 7d')
  const policy = await readPolicy(call, files)
  if (!policy.ok) return policy.code
  const fromMs = call.terminal.nowMs() - sinceMs
  const running = startReplay(policy.value)
  const source = records === undefined ? recordsOfStream(call, fromMs) : recordsOfFile(records)
  for await (const record of source) if (Date.parse(record.time) >= fromMs) running.add(record)
  const report = running.report()
  if (call.json) call.terminal.out(JSON.stringify({ ...report, policy_snapshot: policy.value.snapshot }))
  else tell(call, report)
  const same = report.flips.length + report.changes.length + report.not_reproduced.count === 0
  const blind = report.replayed === 0 && report.decisions > 0
  return same && !blind ? exitCodes.ok : exitCodes.failed
}

function tell({ terminal }: Call, report: ReplayReport): void {
  terminal.out(`${report.replayed} of ${report.decisions} decisions on record were taken again`)
  if (report.flips.length > 0) terminal.out('other outcomes:')
  for (const line of tableText(report.flips.map(row))) terminal.out(`  ${line}`)
  if (report.changes.length > 0) terminal.out('the same outcome by another rule or within other constraints:')
  for (const line of tableText(report.changes.map(row))) terminal.out(`  ${line}`)
  if (report.flips.length + report.changes.length === 0 && report.replayed > 0)
    terminal.out('nothing changes')
  if (report.not_reproduced.count > 0)
    terminal.out(
      `NOT REPRODUCED under its own policy: ${report.not_reproduced.count}, such as ${report.not_reproduced.job_ids.join(', ')}`,
    )
  if (report.rules_never_hit.length > 0)
    terminal.out(visible(`rules never hit: ${report.rules_never_hit.join(', ')}`))
  for (const { reason, count, job_ids: jobs } of report.not_replayable)
    terminal.out(visible(`not replayable: ${count}, such as ${jobs[0] ?? ''}: ${reason}`))
  for (const [rule, count] of Object.entries(report.not_evaluated))
    terminal.out(`no decision of a policy: ${count} by ${rule}`)
}

function row({ from, to, actor, count, job_ids: jobs }: Flip): string[] {
  return [
    String(count),
    `${from.type} (${from.rule_id})`,
    '->',
    `${to.type} (${to.rule_id})`,
    actor,
    jobs.join(' '),
  ]
}
