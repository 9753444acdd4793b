import { headers } from '@nats-io/transport-node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { encodeRecord, type AuditRecord } from '../../audit/record.ts'
import { shortHash } from '../../policy/digest.ts'
import { jobIdFromMessageId } from '../../policy/job-id.ts'
import { startGateway } from '../../gateway/gateway.ts'
import type { Config } from '../../gateway/config/config.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { ask, readAudit, readJob, testConfig, until } from '../helpers/gateway.ts'

let nats: TestNats
let config: Config

beforeAll(async () => {
  nats = await startTestNats()
  config = await testConfig(
    nats,
    'version: v1\nrules: [{ id: free, match: { topics: ["job.free.*"] }, decision: allow }]\n',
  )
})
afterAll(() => nats.stop())

test('a job that was let go on more than a second after the order is not dispatched, and raises the alarm', async () => {
  const agent = await nats.connect('demo')
  const first = await startGateway(config)
  const { job_id: model } = await ask(agent, 'job.free.x', {})
  const stopped = await fetch(`${first.httpUrl}/api/v1/control/stop`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ scope: { kind: 'all' }, reason: 'incident 9' }),
  })
  const { id: stop } = (await stopped.json()) as { id: string }
  await first.stop()
  await new Promise((resolve) => setTimeout(resolve, 1_100))

  // As a gateway would leave it that was stopped between its last look and its write, and then died.
  const job = jobIdFromMessageId('default', 'demo', 'late')
  const named = headers()
  named.set('Nats-Msg-Id', 'late')
  agent.publish('job.free.x', '{}', { headers: named })
  await agent.flush()
  await plant(job, model)

  const second = await startGateway(config)
  await until(async () => (await readJob(nats, job)).at(-1)?.data.terminal?.status === 'CANCELLED')
  const alarm = await until(async () =>
    (await readAudit(nats)).find(({ record }) => record.type === 'sluice.control.late.v1'),
  )
  expect(alarm.record.data).toMatchObject({ record: `${job}.0`, stop, dispatched_at: null })
  const metrics = await (await fetch(`${second.httpUrl}/metrics`)).text()
  expect(metrics).toContain('sluice_late_after_stop_total 1')
  const gateway = await nats.connect('gateway')
  const info = await gateway.request('$JS.API.STREAM.INFO.WORK', JSON.stringify({ subjects_filter: '>' }))
  const { subjects } = info.json<{ state: { subjects: Record<string, number> } }>().state
  expect(Object.keys(subjects).map((subject) => subject.split('.').slice(-3, -1).join('.'))).toEqual([model])
  await second.stop()
})

/** The record of another job, as that of this one. */
async function plant(job: string, model: string): Promise<void> {
  const gateway = await nats.connect('gateway')
  const stream = 'JOBS_default_demo'
  const answer = await gateway.request(
    `$JS.API.STREAM.MSG.GET.${stream}`,
    JSON.stringify({ last_by_subj: 'job.default.demo.free.x' }),
  )
  const { seq, time } = answer.json<{ message: { seq: number; time: string } }>().message
  const [seconds = '', fraction = ''] = time.replace('Z', '').split('.')
  const ns = BigInt(Date.parse(`${seconds}Z`)) * 1_000_000n + BigInt(fraction.padEnd(9, '0'))
  const [record] = await readJob(nats, model)
  const text = JSON.stringify(record).replaceAll(model, job)
  const moved = JSON.parse(text) as AuditRecord
  const now = new Date().toISOString()
  const deadline = new Date(Date.now() + 60_000).toISOString()
  const dispatch = moved.data.dispatch && { ...moved.data.dispatch, deadline }
  const planted = {
    ...moved,
    time: now,
    data: { ...moved.data, causes: [shortHash(`${stream}:${seq}:${ns}`)], ...(dispatch && { dispatch }) },
  }
  await gateway.request(`audit.${job}`, encodeRecord(planted))
}
