import type { JobView } from './api.ts'
import { must, type Report } from './report.ts'
import { places, type Stage } from './stage.ts'

/** What must not come out, put together when needed so that it stands in no file. */
export const cardNumber = (): string => ['4111', '1111', '1111', '1111'].join(' ')
const privateKey = (): string => ['-----BEGIN', 'PRIVATE', 'KEY-----'].join(' ')

/** Results pass the scan before anybody sees them; ticket T-2 has a comment with a card number in it by now. */
export async function output(stage: Stage, report: Report): Promise<void> {
  await report.step('a payment card in a result is redacted', async () => {
    const { job_id } = await stage.submit('job.mcp-bridge.read.get_ticket', { payload: { id: 'T-2' } })
    const job = await stage.api.job(job_id, 10)
    must(job.state === 'SUCCEEDED', `the job is ${job.state}`)
    const text = JSON.stringify(job.result?.body)
    must(text.includes(stage.traceId), 'the comment is not there')
    must(!text.includes(cardNumber()), 'the card number is still there')
    must(text.includes('[redacted:payment-card]'), 'nothing stands in its place')
    return `${places(await stage.story(job_id))}: ${findings(job)}`
  })
  await report.step('a private key in a result keeps the whole result back', async () => {
    const comment = `${privateKey()} ${stage.traceId}`
    const job = await write(stage, 'add_comment', { id: 'T-3', comment })
    must(job.state === 'QUARANTINED', `the job is ${job.state}`)
    must(job.result?.body === null, 'its output was released')
    return `${places(await stage.story(job.id))}: ${findings(job)}`
  })
  await report.step(
    'what the drill wrote into the tickets is taken out again, by two approved writes',
    async () => {
      const where: string[] = []
      for (const id of ['T-2', 'T-3']) {
        const job = await write(stage, 'remove_comments', { id, containing: stage.traceId })
        must(job.state === 'SUCCEEDED', `the write to ${id} is ${job.state}`)
        must(!JSON.stringify(job.result?.body).includes(stage.traceId), `${id} still has the comment`)
        where.push(places(await stage.story(job.id)))
      }
      return where.join('; ')
    },
  )
}

async function write(stage: Stage, action: string, payload: object): Promise<JobView & { id: string }> {
  const answer = await stage.submit(`job.mcp-bridge.write.${action}`, { risk_tags: ['prod'], payload })
  must(answer.state === 'PARKED', `the write is ${answer.state}`)
  const resolved = await stage.approve(answer, 'approved in the drill')
  must(resolved['code'] === undefined, `the approval is refused: ${String(resolved['detail'])}`)
  return { id: answer.job_id, ...(await stage.api.job(answer.job_id, 10)) }
}

function findings({ state, result }: JobView): string {
  const found = result?.findings.map(({ detector, count, action }) => `${action} ${count} ${detector}`) ?? []
  must(found.length > 0, 'no finding is on record')
  return `${state}, ${found.join(', ')}`
}
