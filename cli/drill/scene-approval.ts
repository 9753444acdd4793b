import type { Answer } from '../../audit/answer.ts'
import type { ApiAnswer } from './api.ts'
import { must, type Report } from './report.ts'
import { places, type Stage } from './stage.ts'

/** More waiting jobs than this and the drill does not look for its own among them. */
const cardsMax = 500
const otherHash = '0'.repeat(64)

/** A write that only a person may release: bound to its bytes and to the policy it was parked under, and used once. */
export async function approval(stage: Stage, report: Report, comment: string): Promise<void> {
  let parked: Answer | undefined
  const job = { risk_tags: ['prod'], payload: { id: 'T-2', comment } }
  const waiting = (): Answer => {
    must(parked !== undefined, 'nothing was parked')
    return parked
  }
  await report.step('a prod write is parked, and the approver sees exactly what would run', async () => {
    parked = await stage.submit('job.mcp-bridge.write.add_comment', job)
    must(parked.state === 'PARKED', `it is ${parked.state}`)
    const rule = await sameCard(stage, parked, JSON.stringify({ ...job, trace_id: stage.traceId }))
    return `${places(await stage.story(parked.job_id))}: parked by ${rule}, ${comment.length} characters of comment on the card`
  })
  await report.step('an approval of other bytes is refused', async () =>
    refused(await approve(stage, waiting().job_id, { job_hash: otherHash }), 409, 'stale_binding'),
  )
  await report.step('an approval under another policy is refused', async () =>
    refused(await approve(stage, waiting().job_id, { policy_snapshot: otherHash }), 409, 'stale_binding'),
  )
  await report.step('an approval of a job that does not exist is refused', async () =>
    refused(await approve(stage, 'default.m00000000000000000000000000000000', {}), 404, 'not_found'),
  )
  await report.step('an agent that approves its own job is refused by the server', async () => {
    const words = await stage.agent.refused(`approvals.resolve.${stage.approver.name}.${waiting().job_id}`)
    must(words !== undefined, 'the server let it pass')
    return words
  })
  await report.step(
    'whoever says to be on it is seen by the others, and nobody else is meanwhile',
    async () => {
      const path = `approvals/${waiting().job_id}/claim`
      const claimed = await stage.api.post(path, { note: 'in the drill' })
      must(claimed.status === 200, `the answer is ${claimed.status} ${String(claimed.body['code'])}`)
      return refused(await stage.api.post(path, {}), 409, 'already_claimed')
    },
  )
  await report.step('the right approval dispatches it, once', async () => {
    const { job_id } = waiting()
    const resolved = await stage.approve(waiting(), 'approved in the drill')
    must(resolved['code'] === undefined, `${String(resolved['code'])}: ${String(resolved['detail'])}`)
    const { state } = await stage.api.job(job_id, 10)
    must(state === 'SUCCEEDED', `it is ${state}`)
    const story = await stage.story(job_id)
    const dispatched = story.events.filter(({ state: { to } }) => to === 'DISPATCHED')
    must(dispatched.length === 1, `it was dispatched ${dispatched.length} times`)
    const { resolution } = dispatched[0] ?? {}
    must(resolution?.by === stage.approver.name, `the record names ${resolution?.by}`)
    return `${places(story)}: approved by ${resolution.by} ("${resolution.note}"), bound by the ${resolution.binding}`
  })
  await report.step('a second approval is told who was first', async () => {
    const second = await approve(stage, waiting().job_id, {})
    const { by } = (second.body['resolution'] ?? {}) as { by?: string }
    must(by === stage.approver.name, `the answer names ${by}`)
    return refused(second, 409, 'already_resolved')
  })
}

/** The approver decides over HTTP, as the demo's approver. */
export function approve(stage: Stage, job: string, binding: object): Promise<ApiAnswer> {
  return stage.api.post(`approvals/${job}/approve`, { note: 'in the drill', ...binding })
}

/** What was answered, if it is the refusal that it must be. */
export function refused({ status, body }: ApiAnswer, wanted: number, code: string): string {
  must(status === wanted && body['code'] === code, `the answer is ${status} ${String(body['code'])}`)
  return `${status} ${code}: ${String(body['detail'])}`
}

/** Looks through what waits for the approvers until the job's own card comes, which must be the very bytes. */
async function sameCard(stage: Stage, answer: Answer, body: string): Promise<string> {
  for (let cards = 0; cards < cardsMax; cards++) {
    const card = await stage.approver.nextApproval()
    if (card === undefined) break
    if (card.header('Sluice-Job') !== answer.job_id) continue
    must(card.body === body, 'the card shows other bytes')
    must(card.header('Sluice-Job-Hash') === answer.job_hash, 'the card is bound to another job hash')
    return card.header('Sluice-Rule')
  }
  must(false, 'the card never came to the approver')
}
