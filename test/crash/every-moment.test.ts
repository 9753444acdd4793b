import { headers } from '@nats-io/transport-node'
import { expect, test } from 'vitest'

import { startGateway } from '../../gateway/gateway.ts'
import { jobIdFromMessageId, type JobId } from '../../policy/job-id.ts'
import { testConfig } from '../helpers/gateway.ts'
import { asOwner, startTestNats } from '../helpers/nats-server.ts'
import { startApprovers } from './approvers.ts'
import { chance } from './chance.ts'
import { count, isTerminal, nothingBroken, shown } from './count.ts'
import { loadPolicy, mix, traceOf, type Submitted } from './load.ts'
import { mortalBus, type Death } from './mortal.ts'
import { within } from './patience.ts'
import { leftOver, shortenAckWait } from './streams.ts'
import { stateReader, tail } from './tail.ts'
import { startWorkers } from './workers.ts'

/** More than a gateway ever does about one job of the load; that it is enough is checked. */
const deedsMax = 38
const ackWaitSec = 2
const patienceMs = 40_000

type Mortal = {
  readonly job: JobId
  readonly messageId: string
  readonly death: Death
  readonly topic: string
}

test('a gateway that dies at any moment of any job’s life leaves a job that another gateway brings to its end', async () => {
  const nats = await startTestNats({ owner: 'stays' })
  const api = await asOwner(nats)
  const owner = await nats.connect('owner')
  const audit = tail(owner, 'AUDIT')
  const work = tail(owner, 'WORK')
  const states = stateReader()
  const config = await testConfig(nats, loadPolicy, { dispatchTimeoutSec: 120, decisionTimeoutMs: 20_000 })
  const luck = chance()
  const workers = await startWorkers(nats, luck)
  const jobs = mortals()
  const approvers = await startApprovers(nats, luck, jobs.length)

  const bus = mortalBus(new Map(jobs.map(({ job, death }) => [job, death])))
  const dying = await startGateway({ ...config, gateway: 'dying' }, { bus: (real) => bus.wrap(real) })
  const agent = await nats.connect('demo')
  const submitted: Submitted[] = jobs.map(({ topic, messageId }, n) => {
    const named = headers()
    named.set('Nats-Msg-Id', messageId)
    const body = JSON.stringify({ trace_id: traceOf(n), payload: { work: workOf(topic) } })
    agent.publish(`job.${topic}`, body, { headers: named })
    return { n, topic, agent: 'demo', plain: true }
  })
  const ended = (job: JobId): boolean => isTerminal(states(audit.entries).get(`audit.${job}`) ?? '')
  await within(patienceMs, () => jobs.every(({ job }) => bus.isDead(job) || ended(job)))
  await dying.stop()
  const survived = jobs.filter(({ job }) => !bus.isDead(job))
  const survivors = new Set(survived.map(({ topic }) => topic))
  // Every kind of job has outlived its latest death: no moment is left out.
  expect([...survivors].toSorted()).toEqual(mix.map(({ topic }) => topic).toSorted())

  // Only now: a dying gateway is to get each cause once.
  await shortenAckWait(api, ackWaitSec)
  const living = await startGateway({ ...config, gateway: 'living' })
  await within(patienceMs, () => jobs.every(({ job }) => ended(job)) && approvers.waiting() === 0)
  await within(patienceMs, async () => Object.keys(await leftOver(api)).length === 0)
  const left = await leftOver(api)
  await living.stop()
  await audit.caughtUp()
  await work.caughtUp()
  const seen = {
    audit: audit.entries,
    work: work.entries,
    received: workers.received,
    submitted,
    told: approvers.told,
  }
  const most = Math.max(...survived.map(({ job }) => bus.deeds(job)))
  console.log(`at most ${most} deeds for a job`)
  console.log(`${jobs.length} jobs, ${jobs.length - survived.length} deaths, ${audit.entries.length} records`)
  expect(shown(count(seen))).toEqual(nothingBroken)
  expect(left).toEqual({})
  await Promise.all([audit.stop(), work.stop()])
  await nats.stop()
}, 180_000)

function mortals(): Mortal[] {
  return mix.flatMap(({ topic }) =>
    Array.from({ length: deedsMax }, (_, deed) => deed + 1).flatMap((at) =>
      (['before', 'after'] as const).map((when) => {
        const messageId = `${topic}-${at}-${when}`
        return {
          job: jobIdFromMessageId('default', 'demo', messageId),
          messageId,
          death: { at, when },
          topic,
        }
      }),
    ),
  )
}

function workOf(topic: string): string {
  return mix.find((kind) => kind.topic === topic)?.work ?? 'ok'
}
