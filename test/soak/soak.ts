import { setTimeout as sleep } from 'node:timers/promises'

import { freePort } from '../../cli/dev/ports.ts'
import { chance } from '../crash/chance.ts'
import { chainsOf, countRecords, isTerminal, type Broken } from '../crash/count.ts'
import { reconnecting, within } from '../crash/patience.ts'
import { leftOver } from '../crash/streams.ts'
import { stateReader, tail, type Entry } from '../crash/tail.ts'
import { testConfig } from '../helpers/gateway.ts'
import { startGatewayProcess } from '../helpers/gateway-process.ts'
import { asOwner, startTestNats } from '../helpers/nats-server.ts'
import { hostile } from './hostile.ts'
import { leakIn, sampleOf, trend, type Sample } from './memory.ts'
import { overHttp } from './over-http.ts'
import { overNats, type Told } from './over-nats.ts'

/** What came of it; all lists are empty when all is well. */
export type Soaked = {
  readonly seed: number
  readonly acts: Readonly<Record<string, number>>
  readonly records: number
  readonly jobs: number
  readonly dispatches: number
  readonly broken: Broken
  /** Gateways that ended by themselves. */
  readonly falls: readonly string[]
  /** What an agent was told and what is not on record so, or a job that never ended. */
  readonly untrue: readonly string[]
  /** Answers 500. */
  readonly failures: readonly string[]
  readonly leftOver: Readonly<Record<string, readonly string[]>>
  readonly missing: number
  readonly leaks: readonly string[]
  /** One line for each gateway. */
  readonly memory: readonly string[]
}

const policy = `version: v1
rules:
  - { id: free, match: { topics: ["job.free.*"] }, decision: allow }
  - id: exec
    match: { topics: ["job.exec.*", "job.agent.exec.*"] }
    decision: allow_with_constraints
    constraints: { max_runtime_sec: 2, max_retries: 1, max_output_bytes: 100000 }
  - { id: ask, match: { topics: ["job.ask.*"] }, decision: require_approval, approval: { expires_in: 3s } }
  - { id: slow, match: { topics: ["job.slow.*"] }, decision: throttle, throttle: { rate: 5, per: 1s, max_wait: 3s } }
`
const atOnceNats = 24
const atOnceHttp = 3
const pauseMs = 20
/** Everything here has its deadline within seconds; on a busy machine they may be late. */
const patienceMs = 120_000

/** Two gateways, and everybody who may reach them sends what they should not, for so long. */
export async function soak(
  minutes: number,
  seed: number | undefined,
  say: (line: string) => void,
): Promise<Soaked> {
  const luck = chance(seed)
  const evil = hostile(luck)
  const nats = await startTestNats({ owner: 'stays', limits: { auditBytesMax: 4 * 1024 ** 3 } })
  const owner = await nats.connect('owner', reconnecting)
  const config = await testConfig(nats, policy, {
    dispatchTimeoutSec: 5,
    quarantineExpiresSec: 3,
    decisionTimeoutMs: 10_000,
  })
  const ports = [await freePort(0), await freePort(0)]
  const falls: string[] = []
  const gateways = await Promise.all(
    ports.map((port, index) =>
      startGatewayProcess({ ...config, gateway: `gateway-${index + 1}`, http: { ...config.http, port } }),
    ),
  )
  let over = false
  for (const [index, { exited }] of gateways.entries())
    void exited.then((code) => over || falls.push(`gateway-${index + 1} ended with ${code}`))
  const [audit, work] = [tail(owner, 'AUDIT'), tail(owner, 'WORK')]
  const [bus, http] = [await overNats(nats, evil), overHttp(ports, evil)]
  const untilMs = performance.now() + minutes * 60_000
  const samples: Sample[][] = ports.map(() => [])
  const hammer = async (act: () => Promise<void>): Promise<void> => {
    while (performance.now() < untilMs && falls.length === 0) {
      await act()
      await sleep(luck.between(0, pauseMs))
    }
  }
  const watch = async (): Promise<void> => {
    const everyMs = Math.max(1_000, (minutes * 60_000) / 60)
    while (performance.now() < untilMs && falls.length === 0) {
      await sleep(everyMs)
      for (const gateway of gateways) gateway.collect()
      await sleep(200)
      for (const [index, port] of ports.entries())
        samples[index]?.push(await sampleOf(port).catch(() => ({ heap: NaN, rss: NaN })))
      say(
        `${audit.entries.length} records, ${work.entries.length} dispatches, ${samples.map((of) => trend(of.slice(-1))).join('; ')}`,
      )
    }
  }
  await Promise.all([
    watch(),
    ...Array.from({ length: atOnceNats }, () => hammer(bus.act)),
    ...Array.from({ length: atOnceHttp }, () => hammer(http.act)),
  ])
  say('everything is sent; waiting for what is open to end')
  await bus.goOn()
  const api = await asOwner(nats)
  const states = stateReader()
  await within(patienceMs, async () => {
    const settled = [...states(audit.entries).values()].every(isTerminal)
    return settled && Object.keys(await leftOver(api)).length === 0
  })
  await Promise.all([audit.caughtUp(), work.caughtUp()])
  const left = await leftOver(api)
  over = true
  await Promise.all([...gateways.map((gateway) => gateway.stop()), audit.stop(), work.stop()])
  await nats.stop()
  return {
    seed: luck.seed,
    acts: { ...bus.counts(), ...http.counts() },
    records: audit.entries.length,
    jobs: states(audit.entries).size,
    dispatches: work.entries.length,
    broken: countRecords({ audit: audit.entries, work: work.entries, received: bus.received }),
    falls,
    untrue: untrue(audit.entries, [...bus.told, ...http.told]),
    failures: http.failures,
    leftOver: left,
    missing: audit.missing.length + work.missing.length,
    leaks: samples.flatMap((of, index) => leakIn(of)?.replace(/^/, `gateway-${index + 1}: `) ?? []),
    memory: samples.map((of, index) => `gateway-${index + 1}: ${trend(of)}`),
  }
}

function untrue(audit: readonly Entry[], told: readonly Told[]): string[] {
  const chains = chainsOf(audit)
  return told.flatMap(({ job, state, where }) => {
    const links = chains.get(job)
    if (links === undefined) return [`${where}: ${job} was answered ${state} and is on no record`]
    const same = state === undefined || links.some(({ record }) => record.data.state.to === state)
    return same ? [] : [`${where}: ${job} was answered ${state}, and that is on no record`]
  })
}
