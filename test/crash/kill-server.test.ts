import { expect, test } from 'vitest'

import { startGateway } from '../../gateway/gateway.ts'
import { ask, testConfig } from '../helpers/gateway.ts'
import { asOwner, startTestNats } from '../helpers/nats-server.ts'
import { nothingBroken, shown } from './count.ts'
import { loadPolicy } from './load.ts'
import { reconnecting, within } from './patience.ts'
import { figures, storm } from './storm.ts'
import { leftOver } from './streams.ts'

test('the server and gateways are killed: what was answered for ends, once, by its deadline at the latest', async () => {
  const result = await storm({ jobs: 900, kills: 5, serverKills: 5, attemptSec: 8 })
  console.log(figures(result))
  expect(shown(result.broken)).toEqual(nothingBroken)
  const { falls, missing } = result
  expect({ falls, left: result.leftOver, missing }).toEqual({ falls: [], left: {}, missing: 0 })
  expect(result.kills).toBe(5)
  // Enough got through for the count to mean something.
  const { submitted, audit } = result.seen
  const ended = audit.filter(({ body }) => body.includes('"status":"SUCCEEDED"'))
  expect(ended.length).toBeGreaterThan(submitted.length / 3)
}, 400_000)

test('a waiting copy that a killed server brings back is removed again, and what waits stays', async () => {
  const nats = await startTestNats({ owner: 'stays' })
  const gateway = await startGateway(await testConfig(nats, loadPolicy))
  const agent = await nats.connect('demo', reconnecting)
  const approver = await nats.connect('demo-approver', reconnecting)
  const jobs = await Promise.all(
    Array.from({ length: 12 }, (_, n) => ask(agent, 'job.ask.write', { payload: n })),
  )
  // Between two that wait, because only such removals are forgotten by a server that dies.
  const gone = jobs.slice(1, -1)
  for (const { job_id } of gone)
    await approver.request(`approvals.resolve.demo-approver.${job_id}`, '{"decision":"reject"}')
  await nats.kill9()
  await nats.restart()
  const api = await asOwner(nats)
  const waiting = async (): Promise<string[]> => (await leftOver(api))['APPROVALS'] ?? []
  await within(20_000, async () => (await waiting())[0] === '2 messages')
  expect(await waiting()).toEqual([
    '2 messages',
    ...[jobs[0], jobs.at(-1)].map((job) => `approvals.pending.${job?.job_id}`).toSorted(),
  ])
  await gateway.stop()
  await nats.stop()
}, 60_000)
