import { expect, test } from 'vitest'

import { startGateway } from '../../gateway/gateway.ts'
import type { JobId } from '../../policy/job-id.ts'
import { testConfig } from '../helpers/gateway.ts'
import { asOwner, startTestNats } from '../helpers/nats-server.ts'
import { chainsOf } from './count.ts'
import { mortalBus, type Death } from './mortal.ts'
import { within } from './patience.ts'
import { leftOver, shortenAckWait } from './streams.ts'
import { tail } from './tail.ts'

const policy = `version: v1
rules:
  - { id: ask, match: { topics: ["job.ask.*"] }, decision: require_approval }
`
/** More than a gateway does about one job that is parked or joins another; that it is enough is checked. */
const deedsMax = 8
const times = 3
const ackWaitSec = 2
const patienceMs = 40_000

const deaths = Array.from({ length: deedsMax }, (_, deed) => deed + 1).flatMap((at) =>
  (['before', 'after'] as const).map((when): Death => ({ at, when })),
)
const nameOf = ({ at, when }: Death): string => `${when}-${at}`

test('the same request three times is parked once and joined twice, at whatever moment the gateway dies', async () => {
  const nats = await startTestNats({ owner: 'stays' })
  const api = await asOwner(nats)
  const audit = tail(await nats.connect('owner'), 'AUDIT')
  const config = await testConfig(nats, policy, { decisionTimeoutMs: 20_000 })
  const bus = mortalBus(new Map(), (body) =>
    deaths.find((death) =>
      Buffer.from(body)
        .toString()
        .includes(`"${nameOf(death)}"`),
    ),
  )
  const dying = await startGateway({ ...config, gateway: 'dying' }, { bus: (real) => bus.wrap(real) })
  const agent = await nats.connect('demo')
  for (let time = 0; time < times; time++)
    for (const death of deaths)
      agent.publish('job.ask.moment', JSON.stringify({ payload: { dies: nameOf(death) } }))
  await within(patienceMs, () => bus.born() === deaths.length * times)
  // Whose first is dead here comes again and again: only those of the latest death can all be done with.
  const latest = `"${nameOf({ at: deedsMax, when: 'after' })}"`
  const isDone = (): boolean =>
    bus.alive().filter((job) => bus.bodyOf(job).includes(latest) && chainsOf(audit.entries).has(job))
      .length === times
  await within(patienceMs, isDone)
  // The latest death is beyond what a job takes: no moment is left out.
  expect(isDone()).toBe(true)
  await dying.stop()

  await shortenAckWait(api, ackWaitSec)
  const living = await startGateway({ ...config, gateway: 'living' })
  await within(patienceMs, () => chainsOf(audit.entries).size === deaths.length * times)
  await within(patienceMs, async () => Object.keys(await leftOver(api)).join() === 'APPROVALS')
  const left = await leftOver(api)
  await living.stop()
  await audit.caughtUp()

  const chains = chainsOf(audit.entries)
  const parked = new Set<JobId>()
  const joined = new Map<string, number>()
  for (const [job, links] of chains) {
    expect(links).toHaveLength(1)
    const data = links[0]?.record.data as { event: string; joined?: string } | undefined
    if (data?.event === 'parked') parked.add(job as JobId)
    else joined.set(data?.joined ?? '', (joined.get(data?.joined ?? '') ?? 0) + 1)
  }
  expect(chains.size).toBe(deaths.length * times)
  expect(parked.size).toBe(deaths.length)
  expect([...joined.keys()].toSorted(byText)).toEqual([...parked].toSorted(byText))
  expect([...joined.values()].every((count) => count === times - 1)).toBe(true)
  expect(Object.keys(left)).toEqual(['APPROVALS'])
  expect(left['APPROVALS']?.[0]).toBe(`${deaths.length} messages`)
  await audit.stop()
  await nats.stop()
}, 180_000)

const byText = (a: string, b: string): number => (a < b ? -1 : 1)
