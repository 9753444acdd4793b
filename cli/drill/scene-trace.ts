import { traceText } from '../trace-text.ts'
import type { TraceView } from './api.ts'
import { must, type Report } from './report.ts'
import { cardNumber } from './scene-output.ts'
import type { Stage } from './stage.ts'

/** The whole drill under one trace id; the trace is drawn for whoever wants to read it. */
export async function trace(stage: Stage, report: Report): Promise<string> {
  let view: TraceView | undefined
  await report.step('one trace tells the whole story, and none of the secrets', async () => {
    view = await stage.api.trace(stage.traceId)
    const problems = view.jobs.flatMap(({ problems: found = [] }) => found)
    must(problems.length === 0, problems.join('; '))
    const open = view.jobs.filter(({ complete, state }) => !complete && state !== 'QUARANTINED')
    must(open.length === 0, `${open.map(({ job_id }) => job_id).join(', ')} did not end`)
    must(!JSON.stringify(view).includes(cardNumber()), 'the card number is in the trace')
    const sequences = view.jobs.flatMap(({ events, refused }) =>
      [...events, ...refused].map(({ seq }) => seq),
    )
    const span = `AUDIT ${Math.min(...sequences)} to ${Math.max(...sequences)}`
    return `${span}: ${view.jobs.length} jobs, ${sequences.length} records under ${view.trace_id}`
  })
  return view === undefined ? '' : traceText(view)
}
