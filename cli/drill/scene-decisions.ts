import { must, type Report } from './report.ts'
import { places, type Stage } from './stage.ts'

const read = 'job.mcp-bridge.read.get_ticket'
const write = 'job.mcp-bridge.write.update_ticket'

/** What needs no person: allowed and really done, or denied with the rule that says so. */
export async function decisions(stage: Stage, report: Report): Promise<void> {
  await report.step('a read is allowed, and a worker really reads the ticket', async () => {
    const answer = await stage.submit(read, { payload: { id: 'T-1' } })
    must(answer.decision.type === 'ALLOW', `it was decided ${answer.decision.type}`)
    const { state, result } = await stage.api.job(answer.job_id, 10)
    const ticket = result?.body as { id?: string; title?: string } | null | undefined
    must(state === 'SUCCEEDED' && ticket?.id === 'T-1', `the job is ${state}`)
    const { rule_id } = answer.decision
    return `${places(await stage.story(answer.job_id))}: ALLOW by ${rule_id}; ${result?.worker}: "${ticket.title}"`
  })
  await report.step('the same read tagged destructive is denied, and the rule is named', () =>
    denied(stage, read, { risk_tags: ['destructive'] }, 'deny-destructive'),
  )
  await report.step('a prod write that is destructive too is denied: the most restrictive rule wins', () =>
    denied(stage, write, { risk_tags: ['prod', 'destructive'] }, 'deny-destructive'),
  )
  await report.step('a write without a tag is denied, because nothing allows it', () =>
    denied(stage, write, {}, 'sluice.no-match'),
  )
}

async function denied(stage: Stage, topic: string, job: object, rule: string): Promise<string> {
  const { job_id, state, decision } = await stage.submit(topic, job)
  must(state === 'DENIED' && decision.rule_id === rule, `it is ${state} by ${decision.rule_id}`)
  const story = await stage.story(job_id)
  const dispatched = story.events.some(({ state: { to } }) => to === 'DISPATCHED')
  must(!dispatched, 'it was dispatched all the same')
  return `${places(story)}: DENY by ${rule}: ${decision.reason}`
}
