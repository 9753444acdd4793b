import { setTimeout as sleep } from 'node:timers/promises'

import type { NatsConnection } from '@nats-io/transport-node'
import { expect, test } from 'vitest'

import { ask, testConfig, until } from '../helpers/gateway.ts'
import { startGatewayProcess } from '../helpers/gateway-process.ts'
import { startTestNats } from '../helpers/nats-server.ts'
import { reconnecting } from './patience.ts'
import { tail, type Entry } from './tail.ts'

const policy =
  'version: v1\nrules: [{ id: free, match: { topics: ["job.free.*"] }, decision: allow_with_constraints, ' +
  'constraints: { max_runtime_sec: 60, max_retries: 1 } }]\n'
const enabling = ['allowed', 'approved', 'retried']
/** How long a gateway stands still: longer than every reading of the orders is good for, many times over. */
const standsStillMs = 2_500
const pauses = 1
const inFlight = 40

type Record = {
  readonly type: string
  readonly data: {
    readonly id?: string
    readonly event?: string
    readonly record?: string
    readonly decision?: { rule_id: string }
  }
}
const recordOf = ({ body }: Entry): Record => JSON.parse(body) as Record

test('under load, with a gateway that is stopped before the order and continued after it, nothing is let go on a second after the order', async () => {
  const nats = await startTestNats({ owner: 'stays' })
  const owner = await nats.connect('owner', reconnecting)
  const config = await testConfig(nats, policy)
  const gateways = [
    await startGatewayProcess({ ...config, gateway: 'gateway-1' }),
    await startGatewayProcess({ ...config, gateway: 'gateway-2' }),
  ] as const
  const [audit, work] = [tail(owner, 'AUDIT'), tail(owner, 'WORK')]
  const load = await startLoad(await nats.connect('demo', reconnecting))
  const operator = await nats.connect('demo-operator', reconnecting)
  const order = async (verb: string, body: object): Promise<{ id: string }> =>
    (
      await operator.request(`control.demo-operator.${verb}`, JSON.stringify(body), { timeout: 10_000 })
    ).json()
  const dispatched = (): number => work.entries.length
  for (let pause = 0; pause < pauses; pause++) {
    const before = dispatched()
    await until(() => dispatched() > before + 60)
    gateways[pause]?.pause()
    const { id } = await order('stop', { scope: { kind: 'all' }, reason: `pause ${pause}` })
    await sleep(standsStillMs)
    gateways[pause]?.resume()
    // What it had in hand it has done, or had taken from it, when it denies new jobs.
    await until(() => deniedBy(audit.entries, `gateway-${pause + 1}`, id))
    await order('resume', { id, stage: 'resumed', reason: 'go on' })
  }
  const before = dispatched()
  await until(() => dispatched() > before)
  await load.stop()
  await Promise.all([audit.caughtUp(), work.caughtUp()])
  const counted = count(audit.entries, work.entries)
  await Promise.all([...gateways.map((gateway) => gateway.stop()), audit.stop(), work.stop()])
  await nats.stop()
  console.log(`${counted.stops} orders, ${counted.enabled} jobs let go on, ${counted.denied} kept back`)
  expect(counted).toMatchObject({ stops: pauses, lateRecords: [], lateDispatches: [], alarms: [] })
  expect(counted.enabled).toBeGreaterThan(60)
  expect(counted.denied).toBeGreaterThan(0)
}, 120_000)

/** Asks without end, `inFlight` at a time, whatever the answers are. */
async function startLoad(agent: NatsConnection): Promise<{ stop(): Promise<void> }> {
  let going = true
  const asking = Array.from({ length: inFlight }, async () => {
    while (going) await ask(agent, 'job.free.x', {}).catch(() => undefined)
  })
  return {
    stop: async () => {
      going = false
      await Promise.all(asking)
    },
  }
}

/** Whether this gateway has denied a job because of the newest order. */
function deniedBy(entries: readonly Entry[], gateway: string, stop: string): boolean {
  const since = entries.findLastIndex((entry) => recordOf(entry).data.id === stop)
  return (
    since >= 0 &&
    entries
      .slice(since)
      .some(
        ({ body }) => body.includes('"rule_id":"sluice.stopped"') && body.includes(`"urn:sluice:${gateway}"`),
      )
  )
}

/** From what the server stored and when it did, without any code of the gateway. */
function count(audit: readonly Entry[], work: readonly Entry[]) {
  const held: { fromMs: number; toMs: number }[] = []
  for (const entry of audit) {
    const { type } = recordOf(entry)
    if (type === 'sluice.control.stopped.v1') held.push({ fromMs: entry.timeMs, toMs: Infinity })
    const last = held.at(-1)
    if (type === 'sluice.control.resumed.v1' && last !== undefined) last.toMs = entry.timeMs
  }
  const late = (entries: readonly Entry[]): string[] =>
    entries
      .filter(({ timeMs }) => held.some(({ fromMs, toMs }) => timeMs > fromMs + 1_000 && timeMs < toMs))
      .map(({ subject, timeMs }) => `${subject} ${timeMs}`)
  const enabled = audit.filter((entry) => enabling.includes(recordOf(entry).data.event ?? ''))
  return {
    stops: held.length,
    enabled: enabled.length,
    denied: audit.filter((entry) => recordOf(entry).data.decision?.rule_id === 'sluice.stopped').length,
    lateRecords: late(enabled),
    lateDispatches: late(work),
    alarms: audit
      .filter((entry) => recordOf(entry).type === 'sluice.control.late.v1')
      .map(({ body }) => body),
  }
}
