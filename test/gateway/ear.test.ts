import { headers, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { ask, readAudit, testConfig, until, type Asked } from '../helpers/gateway.ts'
import { runsOn } from '../helpers/which-server.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'

/** What one agent can do to the others by asking faster than anybody can hear. */

const policy = `version: v1
rules:
  - { id: free, match: {}, decision: deny, reason: "no" }
`
let nats: TestNats
let gateway: Gateway
let agent: NatsConnection
let bot: NatsConnection
let reconnects = 0
let start: () => Promise<Gateway>
const answers: Asked[] = []

beforeAll(async () => {
  // The server gives up a reader that is so far behind.
  nats = await startTestNats({ conf: (text) => `max_pending: 16MB\n${text}` })
  const config = await testConfig(nats, policy, { decisionTimeoutMs: 5_000 })
  start = () =>
    startGateway(config, {
      bus: (bus) => {
        bus.onReconnect(() => void reconnects++)
        return bus
      },
    })
  gateway = await start()
  agent = await nats.connect('demo')
  bot = await nats.connect('support-bot')
  agent.subscribe('_INBOX.flood.*', { callback: (_error, message) => void answers.push(message.json()) })
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

/** A question that the agent's own stream refuses: nobody has to keep it, and the second ear hears it all the same. */
function askInVain(bytes: number, n: number): void {
  const refused = headers()
  refused.set('Nats-Expected-Last-Sequence', '999999')
  agent.publish('job.any', new Uint8Array(bytes), { reply: `_INBOX.flood.${n}`, headers: refused })
}

// How much is kept does not depend on the server.
test.runIf(runsOn('current'))(
  'of the questions of one agent only so much is kept, and another agent is answered all the same',
  async () => {
    const asked = 24
    for (let n = 0; n < asked; n++) {
      askInVain(900_000, n)
      await agent.flush()
    }
    // Heard after all of them, and told after all of them that nobody decided it.
    const last = headers()
    last.set('Nats-Expected-Last-Sequence', '999999')
    const told = await bot.request('job.support-bot.any', '{}', { headers: last, timeout: 25_000 })
    expect(told.json<Asked>().error?.description).toContain('not decided')
    expect(answers.length).toBeGreaterThan(0)
    expect(answers.length).toBeLessThan(asked)
    expect(reconnects).toBe(0)
  },
)

test('a flood of questions costs the gateway no connection but the one that hears them', async () => {
  for (let n = 0; n < 60; n++) askInVain(900_000, n)
  await agent.flush()
  const { state } = await until(async () => {
    const answer = await ask(bot, 'job.support-bot.any', {}, 'after-the-flood', 1_000).catch(() => undefined)
    return answer?.error === undefined ? answer : undefined
  })
  expect(state).toBe('DENIED')
  expect(reconnects).toBe(0)
})

test('a stream full of large jobs is taken in pieces that the connection can bear', async () => {
  await gateway.stop()
  const large = JSON.stringify({ payload: 'x'.repeat(250_000) })
  const jobs = 120
  for (let n = 0; n < jobs; n++) {
    agent.publish('job.large', large)
    await agent.flush()
  }
  gateway = await start()
  const decided = async (): Promise<number> =>
    (await readAudit(nats)).filter(({ record }) => record.data.topic === 'job.large').length
  await until(async () => (await decided()) === jobs)
  expect(reconnects).toBe(0)
})
