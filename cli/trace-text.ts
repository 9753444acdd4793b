import type { JobTimeline, TimelineEvent } from '../audit/fold.ts'
import { visible } from './visible.ts'

type Trace = { readonly trace_id: string; readonly tenant: string; readonly jobs: readonly JobTimeline[] }

/** A trace as text, one line for each record: where it stands in AUDIT, when it was, what moved and on whose word. */
export function traceText(trace: Trace): string {
  const lines = [`trace ${trace.trace_id} of tenant ${trace.tenant}`]
  for (const job of trace.jobs) {
    const { auth, principal } = job.actor
    const how = principal === undefined ? auth : `${auth}, ${principal}`
    lines.push(
      '',
      `${visible(job.topic)}  by ${job.actor.type} ${job.actor.id} (${how})  ${job.state}`,
      `  ${job.job_id}`,
    )
    const beside = job.refused.map(({ seq, time, refuse, principal, detail }) => ({
      seq,
      line: row(seq, time, '  refused', `${refuse} by ${principal}${detail === '' ? '' : `: ${detail}`}`),
    }))
    const moves = job.events.map((event) => ({
      seq: event.seq,
      line: row(event.seq, event.time, `${event.state.from} > ${event.state.to}`, whyOf(event).join('; ')),
    }))
    for (const { line } of [...moves, ...beside].toSorted((a, b) => a.seq - b.seq)) lines.push(line)
    for (const problem of job.problems ?? []) lines.push(`  PROBLEM ${visible(problem)}`)
  }
  return lines.join('\n')
}

const moveWidth = 24

function row(seq: number, time: string, move: string, why: string): string {
  return `  #${String(seq).padEnd(5)} ${time.slice(11, 23)}  ${move.padEnd(moveWidth)} ${visible(why)}`.trimEnd()
}

/** What this record adds to the one before: the decision, the person, the attempt, the result. */
function whyOf(event: TimelineEvent): string[] {
  const { resolution, result, constraints } = event
  const decided = event.type === 'sluice.decision.v1'
  return [
    ...(decided ? [`${event.decision.type} by ${event.rule_id}: ${event.reason}`] : []),
    ...(decided && constraints !== null ? [JSON.stringify(constraints)] : []),
    ...(resolution === undefined
      ? []
      : [`${resolution.decision} by ${resolution.by} (${resolution.via}): "${resolution.note}"`]),
    ...(event.pool === undefined
      ? []
      : [`pool ${event.pool}, attempt ${event.attempt} of ${event.attempts_max}`]),
    ...(result === undefined ? [] : [`${result.worker} ${result.status}, ${result.action}`]),
    ...(result?.findings ?? []).map(({ detector, count }) => `${detector} ${count}x`),
    ...(event.joined === undefined ? [] : [`joined ${event.joined}`]),
    ...(event.limit === undefined ? [] : [`limit ${event.limit}`]),
    ...(event.by === undefined ? [] : [`by ${event.by}: "${event.note ?? ''}"`]),
    ...(event.terminal === undefined ? [] : [`after ${event.terminal.duration_ms} ms`]),
  ]
}
