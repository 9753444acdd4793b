import { setTimeout as sleep } from 'node:timers/promises'

import { testConfig } from '../helpers/gateway.ts'
import { asOwner, startTestNats, type TestNats } from '../helpers/nats-server.ts'
import type { GatewayOrder } from '../helpers/gateway-main.ts'
import { startApprovers } from './approvers.ts'
import { chance, type Chance } from './chance.ts'
import { count, isTerminal, type Broken, type Seen } from './count.ts'
import { loadPolicy, startLoad } from './load.ts'
import { startReplicas } from './replicas.ts'
import { reconnecting, within } from './patience.ts'
import { allQueues, leftOver, shortenAckWait, waitingQueues } from './streams.ts'
import { stateReader, tail } from './tail.ts'
import { startWorkers } from './workers.ts'

export type StormOptions = {
  readonly jobs: number
  readonly gateways?: number
  /** How often a gateway is killed meanwhile. */
  readonly kills?: number
  /** For how long a gateway is stopped and then continued, once, in the middle. */
  readonly pauseMs?: number
  /** How often the server itself is killed and started again meanwhile. */
  readonly serverKills?: number
  readonly how?: Omit<GatewayOrder, 'config'>
  /** How long a worker may take: what the dying server loses on its way is given up after this. */
  readonly attemptSec?: number
  /** How long to wait for what does not come. */
  readonly patienceMs?: number
}

export type Storm = {
  readonly broken: Broken
  readonly seen: Seen
  readonly kills: number
  readonly falls: readonly string[]
  readonly failedStarts: readonly string[]
  /** Messages that still stand in a queue at the end, by stream. */
  readonly leftOver: Readonly<Record<string, readonly string[]>>
  /** Entries of AUDIT and WORK that were gone before they could be read. */
  readonly missing: number
  readonly seconds: number
}

/** What a killed gateway held comes back after this long; 30 s in earnest, shorter here because the suite waits for it. */
const ackWaitSec = 4
/** Far longer than everything here takes: no job may end for want of time, except those whose rule says so. */
const attemptUsualSec = 120
const decisionTimeoutMs = 20_000
/** Everything has its deadline, and nothing takes longer than some of these and some redeliveries one after the other. */
const patienceUsualMs = 45_000
/** With two times the patience, a start and a replay this must stay below the time limit of the tests. */
const stormMsMax = 150_000
/** About how many records a job of the load leaves behind, and by which part of them the last kill has happened. */
const recordsPerJob = 2.3
const untilShare = 0.85

/** Two gateways, agents, workers, approvers and readers, and processes killed among them; then everything is counted. */
export async function storm(options: StormOptions): Promise<Storm> {
  const startedMs = performance.now()
  const { patienceMs = patienceUsualMs, serverKills = 0, attemptSec = attemptUsualSec } = options
  const { gateways = 2, kills = 0, pauseMs = 0 } = options
  const nats = await startTestNats({ owner: 'stays' })
  const luck = chance()
  console.log(`seed ${luck.seed} on nats-server ${nats.version}`)
  const owner = await nats.connect('owner', reconnecting)
  const api = await asOwner(nats)
  await shortenAckWait(api, ackWaitSec)
  const config = await testConfig(nats, loadPolicy, {
    dispatchTimeoutSec: attemptSec,
    decisionTimeoutMs,
  })
  const audit = tail(owner, 'AUDIT')
  const states = stateReader()
  const work = tail(owner, 'WORK')
  const replicas = await startReplicas(
    Array.from({ length: gateways }, (_, index) => ({ ...config, gateway: `gateway-${index + 1}` })),
    options.how,
  )
  const workers = await startWorkers(nats, luck)
  const approvers = await startApprovers(nats, luck)
  const load = await startLoad(nats, luck, options.jobs, () => states(audit.entries).size)
  let over = false
  const progress = (): number => (over ? Infinity : audit.entries.length / (options.jobs * recordsPerJob))
  await Promise.race([
    Promise.all([
      load.done,
      atMoments(luck, kills, progress, () => replicas.kill(luck.between(0, gateways - 1))),
      atMoments(luck, pauseMs > 0 ? 1 : 0, progress, () => replicas.pause(0, pauseMs)),
      atMoments(luck, serverKills, progress, () => killServer(nats, luck)),
    ]),
    sleep(stormMsMax),
  ])
  over = true
  const settled = (): boolean => {
    const now = states(audit.entries)
    // What a dying server lost of the plain publishes cannot be waited for.
    const expected = submitted.filter(({ plain }) => !plain || serverKills === 0).length
    return now.size >= expected && [...now.values()].every(isTerminal) && approvers.waiting() === 0
  }
  const { submitted } = load
  await within(patienceMs, settled)
  await audit.caughtUp()
  await work.caughtUp()
  const queues = serverKills > 0 && nats.version.startsWith('2.9.') ? waitingQueues : allQueues
  const left = { value: await leftOver(api, queues) }
  await within(patienceMs, async () => Object.keys((left.value = await leftOver(api, queues))).length === 0)
  await audit.caughtUp()
  const seen = {
    audit: audit.entries,
    work: work.entries,
    received: workers.received,
    submitted,
    told: approvers.told,
  }
  await Promise.all([replicas.stop(), audit.stop(), work.stop()])
  await nats.stop()
  return {
    broken: count(seen, serverKills > 0),
    seen,
    kills: replicas.kills,
    falls: [...replicas.falls],
    failedStarts: [...replicas.failedStarts],
    leftOver: left.value,
    missing: audit.missing.length + work.missing.length,
    seconds: Math.round((performance.now() - startedMs) / 1_000),
  }
}

/** One line about what happened. */
export function figures({ seen, kills, seconds, broken }: Storm): string {
  const { submitted, audit, work, received, told } = seen
  return [
    `${submitted.length} jobs, ${kills} gateways killed, ${audit.length} records, ${work.length} dispatches,`,
    `${received.length} received, ${told.length} resolutions asked for,`,
    `${Object.values(broken).flat().length} violations, ${seconds} s`,
  ].join(' ')
}

/** Does something so many times, at random points of the way; when the way goes on says `progress`, not the clock. */
async function atMoments(
  luck: Chance,
  times: number,
  progress: () => number,
  act: () => Promise<void>,
): Promise<void> {
  const moments = Array.from({ length: times }, () => luck.next() * untilShare).toSorted((a, b) => a - b)
  for (const moment of moments) {
    while (progress() < moment) await sleep(5)
    if (progress() === Infinity) return
    await act()
  }
}

async function killServer(nats: TestNats, luck: Chance): Promise<void> {
  await nats.kill9()
  await sleep(luck.between(0, 500))
  await nats.restart()
}
