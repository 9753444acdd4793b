import { setTimeout as sleep } from 'node:timers/promises'

import type { NatsConnection } from '@nats-io/transport-node'

import type { TestNats } from '../helpers/nats-server.ts'
import type { Chance } from './chance.ts'
import { reconnecting } from './patience.ts'

/** What one approver was told in the end about one job. */
export type Told = {
  readonly job: string
  readonly by: string
  readonly wanted: 'approve' | 'reject'
  /** `resolved`, or the code of the refusal. */
  readonly outcome: string
  /** The resolution that the answer showed, whoever's it was. */
  readonly resolution?: { readonly by: string; readonly decision: string; readonly at: string }
}

export type Approvers = {
  readonly told: readonly Told[]
  /** How many decisions are still being asked for. */
  waiting(): number
}

type Reply = {
  readonly code?: string
  readonly state?: string
  readonly resolution?: Told['resolution']
}

const names = ['demo-approver', 'second-approver'] as const
const fetchEveryMs = 200
const requestTimeoutMs = 4_000
/** How many jobs the two look at together. */
const atOnceUsual = 12
const retryAfterMs = 50
const thinkMsMax = 200

/** Two people who both decide about everything that waits, at the same moment and not always alike. */
export async function startApprovers(
  nats: TestNats,
  chance: Chance,
  atOnce = atOnceUsual,
): Promise<Approvers> {
  const told: Told[] = []
  const seen = new Set<string>()
  const queue: string[] = []
  let asking = 0
  const connections = await Promise.all(names.map((name) => nats.connect(name, reconnecting)))
  const [reader] = connections as [NatsConnection]
  const inbox = `_INBOX_${names[0]}.waiting`
  reader.subscribe(inbox, {
    callback: (error, message) => {
      const job = message.headers?.last('Sluice-Job')
      if (error !== null || job === undefined || job === '') return
      message.respond('')
      // Nobody decides about these: they lapse.
      if (message.headers?.last('Sluice-Topic').startsWith('job.lapse.') === true || seen.has(job)) return
      seen.add(job)
      queue.push(job)
    },
  })
  const fetch = setInterval(() => {
    const request = JSON.stringify({ batch: 64, expires: fetchEveryMs * 1_000_000 })
    if (reader.isClosed()) clearInterval(fetch)
    else reader.publish('gov.API.CONSUMER.MSG.NEXT.APPROVALS.approvers', request, { reply: inbox })
  }, fetchEveryMs)
  const look = async (): Promise<void> => {
    while (!reader.isClosed()) {
      const job = queue.shift()
      if (job === undefined) await sleep(20)
      else await decideBoth(job)
    }
  }
  const decideBoth = async (job: string): Promise<void> => {
    asking++
    await sleep(chance.between(0, thinkMsMax))
    const both = names.map((name, index) =>
      resolve(connections[index] as NatsConnection, name, job, chance.next() < 0.7 ? 'approve' : 'reject'),
    )
    told.push(...(await Promise.all(both)))
    asking--
  }
  for (let at = 0; at < atOnce; at++) void look() // Ends with the connection.
  await reader.flush()
  return { told, waiting: () => asking + queue.length }
}

/** Asks until somebody says how it stands; no answer and `unavailable` both mean: ask again. */
async function resolve(
  connection: NatsConnection,
  by: (typeof names)[number],
  job: string,
  wanted: 'approve' | 'reject',
): Promise<Told> {
  const body = JSON.stringify({ decision: wanted, note: `as ${by} sees it` })
  for (;;) {
    const message = await connection
      .request(`approvals.resolve.${by}.${job}`, body, { timeout: requestTimeoutMs })
      .catch(() => undefined)
    const reply = message?.json<Reply>()
    if (reply !== undefined && reply.code !== 'unavailable') {
      const { code = 'resolved', resolution } = reply
      return { job, by, wanted, outcome: code, ...(resolution && { resolution }) }
    }
    if (connection.isClosed()) return { job, by, wanted, outcome: 'closed' }
    await sleep(retryAfterMs)
  }
}
