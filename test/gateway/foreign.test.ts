import { readFile } from 'node:fs/promises'
import { connect, headers, StringCodec, type NatsConnection } from 'nats'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { readJob, testConfig, until } from '../helpers/gateway.ts'

/** The `nats` package as it was left in 2025: clients that know nothing of Sluice go on working. */
let nats: TestNats
let gateway: Gateway
const connections: NatsConnection[] = []
const text = StringCodec()

async function foreign(user: string, inboxPrefix: string): Promise<NatsConnection> {
  const connection = await connect({ servers: nats.url, user, pass: nats.passwords[user] ?? '', inboxPrefix })
  connections.push(connection)
  return connection
}

beforeAll(async () => {
  nats = await startTestNats()
  gateway = await startGateway(await testConfig(nats, await readFile('deploy/policy.yaml', 'utf8')))
})
afterAll(async () => {
  await Promise.all(connections.map((connection) => connection.close()))
  await gateway.stop()
  await nats.stop()
})

const ended = (job: string): ReturnType<typeof readJob> =>
  until(async () => {
    const records = await readJob(nats, job)
    return records.at(-1)?.data.terminal !== undefined && records
  })

test('an agent and a queue worker on the nats package do a job, and the output comes back', async () => {
  const agent = await foreign('demo', '_INBOX')
  const worker = await foreign('helpdesk-1', '_INBOX_helpdesk-1')
  const jobs = worker.subscribe('worker.helpdesk.>', { queue: 'helpdesk' })
  const work = (async () => {
    for await (const job of jobs) {
      const echoed = headers()
      for (const name of ['Sluice-Attempt', 'Sluice-Result-Token', 'Sluice-Constraints-Hash'])
        echoed.set(name, job.headers?.get(name) ?? '')
      echoed.set('Sluice-Status', 'ok')
      worker.publish(
        `result.helpdesk-1.${job.headers?.get('Sluice-Job') ?? ''}`,
        text.encode('{"done":true}'),
        {
          headers: echoed,
        },
      )
    }
  })()
  await worker.flush()
  const outputs = agent.subscribe('output.>', { max: 1 })
  const reply = await agent.request(
    'job.mcp-bridge.read.get_ticket',
    text.encode('{"payload":{"id":"T-1"}}'),
    { timeout: 5_000 },
  )
  const answer = JSON.parse(text.decode(reply.data)) as { job_id: string; state: string }
  expect(answer.state).toBe('DISPATCHED')
  for await (const output of outputs) expect(text.decode(output.data)).toBe('{"done":true}')
  expect((await ended(answer.job_id)).at(-1)?.data.event).toBe('succeeded')
  jobs.unsubscribe()
  await work
})

test('js.publish() takes the answer for the acknowledgement that it is', async () => {
  const agent = await foreign('demo', '_INBOX')
  const ack = await agent
    .jetstream({ timeout: 5_000 })
    .publish('job.mcp-bridge.write.x', text.encode('{"risk_tags":["prod"]}'), {
      msgID: 'publish-1',
    })
  expect(ack).toMatchObject({ stream: 'JOBS_default_demo', duplicate: false })
  expect(ack.seq).toBeGreaterThan(0)
})

test('a pull worker fetches its job through the granted part of the JetStream API', async () => {
  const agent = await foreign('demo', '_INBOX')
  const worker = await foreign('exec-1', '_INBOX_exec-1')
  const consumer = await worker.jetstream({ apiPrefix: 'gov.API' }).consumers.get('WORK', 'exec')
  const body = text.encode('{"risk_tags":["medium"],"payload":{"command":"date"}}')
  const reply = await agent.request('job.agent.exec.run', body, { timeout: 5_000 })
  const answer = JSON.parse(text.decode(reply.data)) as { job_id: string }
  const job = await consumer.next({ expires: 5_000 })
  if (job === null) throw new Error('no job came')
  expect(job.headers?.get('Sluice-Job')).toBe(answer.job_id)
  expect(JSON.parse(job.headers?.get('Sluice-Constraints') ?? '')).toEqual({
    max_runtime_sec: 45,
    max_retries: 1,
  })
  job.ack()
  const echoed = headers()
  for (const name of ['Sluice-Attempt', 'Sluice-Result-Token', 'Sluice-Constraints-Hash'])
    echoed.set(name, job.headers?.get(name) ?? '')
  worker.publish(`result.exec-1.${answer.job_id}`, text.encode('today'), { headers: echoed })
  const records = await ended(answer.job_id)
  expect(records.map(({ data }) => data.event)).toEqual(['allowed', 'succeeded'])
})
