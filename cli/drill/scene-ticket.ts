import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { connectOutsider, type Outsider } from './outsider.ts'
import { must, type Report } from './report.ts'
import { places, type Place, type Stage } from './stage.ts'

const lookEveryMs = 50
const looksMax = 100

/** Somebody who got hold of the gateway's password hands a worker what the gate never sent. */
export async function tickets(place: Place, stage: Stage, report: Report): Promise<void> {
  await report.step(
    "a worker refuses what the gate did not send as it is, even from somebody with the gateway's password",
    () => refused(place, stage),
  )
}

async function refused(place: Place, stage: Stage): Promise<string> {
  const { job_id } = await stage.submit('job.mcp-bridge.read.get_ticket', { payload: { id: 'T-1' } })
  const { state } = await stage.api.job(job_id, 10)
  must(state === 'SUCCEEDED', `the job to copy is ${state}`)
  const thief = await connectAsGateway(place)
  try {
    const subject = `gov.dispatch.helpdesk.mcp-bridge.read.get_ticket.${job_id}`
    const { headers, body } = await dispatched(thief, `${subject}.1`)
    const attempts: [body: string, headers: Record<string, string>, why: string][] = [
      [body, headers, 'replayed'],
      ['{"payload":{"id":"T-2"}}', headers, 'altered-body'],
      [body, { ...headers, 'Sluice-Deadline': '2099-01-01T00:00:00.000Z' }, 'bad-signature'],
      [body, { ...headers, 'Sluice-Ticket': '' }, 'malformed-ticket'],
    ]
    for (const [index, [altered, more]] of attempts.entries())
      await thief.ask(`${subject}.${index + 2}`, altered, more)
    const lines = attempts.map(([, , why]) => `${job_id} refused: ${why}`)
    await said(join(place.data_dir, 'logs', 'helpdesk-1.log'), lines)
    return `${places(await stage.story(job_id))}: handed on by somebody else, ${lines.join('; ')}`
  } finally {
    await thief.close()
  }
}

async function connectAsGateway({ nats_url: url, data_dir: folder }: Place): Promise<Outsider> {
  const text = await readFile(join(folder, 'passwords.json'), 'utf8')
  const { gateway: password = '' } = JSON.parse(text) as Record<string, string>
  const user = 'gateway'
  return connectOutsider(url, {
    role: 'operator',
    user,
    password,
    account: 'GOV',
    inbox_prefix: '_INBOX_gateway',
    actor: user,
  })
}

/** A dispatch as WORK keeps it. */
async function dispatched(
  thief: Outsider,
  subject: string,
): Promise<{ headers: Record<string, string>; body: string }> {
  const { message } = await thief.ask<{ message?: { hdrs: string; data: string } }>(
    '$JS.API.STREAM.MSG.GET.WORK',
    JSON.stringify({ last_by_subj: subject }),
  )
  must(message !== undefined, 'the dispatch is not in WORK')
  const decoded = (text: string): string => Buffer.from(text, 'base64').toString()
  const headers = [...decoded(message.hdrs).matchAll(/^(Sluice-[\w-]+): (.*?)\r?$/gm)]
  return {
    headers: Object.fromEntries(headers.map(([, name = '', value = '']) => [name, value])),
    body: decoded(message.data),
  }
}

/** Waits until the worker has said all of it. */
async function said(file: string, lines: readonly string[]): Promise<void> {
  for (let looks = 0; looks < looksMax; looks++) {
    const log = await readFile(file, 'utf8').catch(() => '')
    if (lines.every((line) => log.includes(line))) return
    await sleep(lookEveryMs)
  }
  must(false, `the worker did not say: ${lines.join('; ')}`)
}
