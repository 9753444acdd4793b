import { randomUUID } from 'node:crypto'

import type { Answer } from '../../audit/answer.ts'
import { must, type Report } from './report.ts'
import { approve, refused } from './scene-approval.ts'
import { places, type Stage } from './stage.ts'

/** Rules for what the demo's policy has no rule for; they stand behind it when the drill has a stack of its own. */
export const careRules = `
  - id: drill-two-persons
    match: { topics: ["job.drill.two.*"] }
    decision: require_approval
    approval: { thresholds: [{ from: { persons: [demo-approver, second-approver] }, approve: 2 }] }
  - id: drill-half-a-minute
    match: { topics: ["job.drill.two.*"] }
    decision: allow_with_constraints
    constraints: { max_runtime_sec: 30 }
  - id: drill-theirs
    match: { topics: ["job.drill.theirs.*"] }
    decision: require_approval
    approval: { thresholds: [{ from: { persons: [second-approver] }, approve: 1 }] }
  - id: drill-brief
    match: { topics: ["job.drill.brief.*"] }
    decision: require_approval
    approval: { expires_in: 1s }
`

/** In the demo's topology nobody answers for an agent; in the drill's own somebody does. */
export const withOwner = (topology: string): string =>
  topology.replace('user: billing-bot }', 'user: billing-bot, owner: second-approver }')

/** Approvals that take more than one word, the right person, or the right time. */
export async function care(stage: Stage, report: Report): Promise<void> {
  let brief: Answer | undefined
  let two: Answer | undefined
  const waiting = (): string => {
    must(two !== undefined, 'nothing was parked')
    return two.job_id
  }
  await report.step('whoever answers for an agent does not decide about its job', () => ownJob(stage))
  await report.step('an approver whom the rule does not name is refused', async () => {
    brief = await stage.submit('job.drill.brief.x', {})
    const theirs = await stage.submit('job.drill.theirs.x', {})
    must(theirs.state === 'PARKED', `it is ${theirs.state}`)
    const answer = await approve(stage, theirs.job_id, {})
    await reject(stage, theirs.job_id)
    return refused(answer, 403, 'not_an_approver')
  })
  await report.step('an approval that widens a limit is refused', async () => {
    two = await stage.submit('job.drill.two.x', {})
    return refused(
      await approve(stage, waiting(), { constraints: { max_runtime_sec: 300 } }),
      409,
      'constraints_widen',
    )
  })
  await report.step(
    'where two must approve, one approval dispatches nothing, and one person is one',
    async () => {
      const first = await approve(stage, waiting(), {})
      must(first.body['state'] === 'PARKED', `after one approval it is ${String(first.body['state'])}`)
      return refused(await approve(stage, waiting(), {}), 409, 'already_voted')
    },
  )
  await report.step('one of them refuses, and it never runs', async () => {
    await reject(stage, waiting())
    const { state, attempts } = await stage.api.job(waiting(), 10)
    must(state === 'REJECTED' && attempts === 0, `it is ${state} after ${attempts} attempts`)
    return places(await stage.story(waiting()))
  })
  await report.step('an approval after its time is refused, and the job did not run', async () => {
    must(brief !== undefined, 'nothing was parked')
    const { state, attempts } = await stage.api.job(brief.job_id, 15)
    must(state === 'EXPIRED' && attempts === 0, `it is ${state} after ${attempts} attempts`)
    return refused(await approve(stage, brief.job_id, {}), 410, 'expired')
  })
}

async function ownJob(stage: Stage): Promise<string> {
  const subject = `job.${stage.bot.name}.mcp-bridge.write.update_ticket`
  const body = { risk_tags: ['prod'], trace_id: stage.traceId }
  const { job_id, state } = await stage.bot.ask<Answer>(subject, JSON.stringify(body), {
    'Nats-Msg-Id': randomUUID(),
  })
  must(state === 'PARKED', `it is ${state}`)
  const told = await stage.second.ask<Record<string, unknown>>(
    `approvals.resolve.${stage.second.name}.${job_id}`,
    JSON.stringify({ decision: 'approve', note: 'my own' }),
  )
  await stage.api.post(`approvals/${job_id}/reject`, { note: 'nobody is to wait for it' })
  return refused({ status: Number(told['status']), body: told }, 403, 'self_approval')
}

function reject(stage: Stage, job: string): Promise<unknown> {
  const { second } = stage
  const body = JSON.stringify({ decision: 'reject', note: 'in the drill' })
  return second.ask(`approvals.resolve.${second.name}.${job}`, body)
}
