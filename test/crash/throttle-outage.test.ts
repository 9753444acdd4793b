import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'

import { ask, coreWorker, readAudit, testConfig, until } from '../helpers/gateway.ts'
import { asOwner, startTestNats } from '../helpers/nats-server.ts'
import { startReplicas } from './replicas.ts'
import { shortenAckWait } from './streams.ts'

const rate = 5
const perMs = 2_000
const policy = `version: v1
rules:
  - id: slow
    match: { topics: ["job.slow.*"] }
    decision: throttle
    throttle: { rate: ${rate}, per: ${perMs}ms, max_wait: 5m }
`
const jobs = 25
/** A job starts when its gateway gets to it: up to a second after its slot, later it would lose the slot. */
const slackMs = 1_000

test('throttled jobs all run, and not too many at once, also when their slots passed while no gateway was there', async () => {
  const nats = await startTestNats({ owner: 'stays' })
  await shortenAckWait(await asOwner(nats), 3)
  const config = await testConfig(nats, policy)
  const gateways = await startReplicas(['gateway-1', 'gateway-2'].map((gateway) => ({ ...config, gateway })))
  await coreWorker(nats, 'helpdesk-1', () => ({ body: '{}' }))
  const agent = await nats.connect('demo')
  await Promise.all(
    Array.from({ length: jobs }, (_, n) => ask(agent, 'job.slow.run', { payload: { n } }, `n-${n}`, 20_000)),
  )
  await Promise.all([gateways.pause(0, 3_000), gateways.pause(1, 3_000)])
  await sleep(500)
  await Promise.all([gateways.kill(0), gateways.kill(1)])
  const records = await until(async () => {
    await sleep(500)
    const all = (await readAudit(nats)).map(({ record }) => record)
    return all.filter(({ data }) => data.event === 'succeeded').length === jobs && all
  })
  const starts = records
    .filter(({ data }) => data.event === 'allowed')
    .map(({ time }) => Date.parse(time))
    .toSorted((a, b) => a - b)
  expect(starts).toHaveLength(jobs)
  const apart = starts.slice(rate).map((start, index) => start - (starts[index] ?? 0))
  console.log(`least time between a start and the one ${rate} before it: ${Math.min(...apart)} ms`)
  expect(Math.min(...apart)).toBeGreaterThanOrEqual(perMs - slackMs)
  await gateways.stop()
  await nats.stop()
}, 90_000)
