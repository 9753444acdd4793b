import { setTimeout as sleep } from 'node:timers/promises'

import { headers, type NatsConnection } from '@nats-io/transport-node'

import type { Asked } from '../helpers/gateway.ts'
import type { TestNats } from '../helpers/nats-server.ts'
import type { Chance } from './chance.ts'
import { reconnecting } from './patience.ts'

/** Every way a job can go: run, be denied, be asked about, lapse, wait, wait and then be asked about, never answer. */
export const loadPolicy = `version: v1
rules:
  - { id: free, match: { topics: ["job.free.*"] }, decision: allow }
  - id: silent
    match: { topics: ["job.silent.*"] }
    decision: allow_with_constraints
    constraints: { max_runtime_sec: 4, max_retries: 1 }
  - id: exec
    match: { topics: ["job.agent.exec.*"] }
    decision: allow_with_constraints
    constraints: { max_retries: 1 }
  - { id: ask, match: { topics: ["job.ask.*", "job.slow.ask"] }, decision: require_approval }
  - id: brief
    match: { topics: ["job.ask.brief"] }
    decision: allow_with_constraints
    constraints: { max_runtime_sec: 3 }
  - id: lapse
    match: { topics: ["job.lapse.*"] }
    decision: require_approval
    approval: { expires_in: 4s, remind_at: 1s, escalate_to: { groups: [bosses], after: 2s } }
  - id: slow
    match: { topics: ["job.slow.*"] }
    decision: throttle
    throttle: { rate: 10, per: 500ms, max_wait: 10m }
  - { id: never, match: { topics: ["job.never.*"] }, decision: deny }
`

type Kind = {
  readonly topic: string
  /** How often it comes among a hundred jobs. */
  readonly share: number
  readonly work: Work
  /** How it must end while the server lives. */
  readonly ends: readonly string[]
}

/** What the agents submit. */
export const mix: readonly Kind[] = [
  { topic: 'free.read', share: 37, work: 'ok', ends: ['SUCCEEDED'] },
  { topic: 'free.broken', share: 4, work: 'error', ends: ['FAILED'] },
  { topic: 'silent.run', share: 2, work: 'silent', ends: ['TIMED_OUT'] },
  { topic: 'agent.exec.run', share: 10, work: 'ok', ends: ['SUCCEEDED'] },
  { topic: 'agent.exec.again', share: 5, work: 'fail-once', ends: ['SUCCEEDED'] },
  { topic: 'never.mind', share: 10, work: 'ok', ends: ['DENIED'] },
  { topic: 'ask.write', share: 13, work: 'ok', ends: ['SUCCEEDED', 'REJECTED'] },
  // Little time to run: what a crash keeps from being dispatched is given up.
  { topic: 'ask.brief', share: 2, work: 'ok', ends: ['SUCCEEDED', 'REJECTED', 'TIMED_OUT'] },
  { topic: 'lapse.write', share: 3, work: 'ok', ends: ['EXPIRED'] },
  { topic: 'slow.run', share: 10, work: 'ok', ends: ['SUCCEEDED'] },
  { topic: 'slow.ask', share: 4, work: 'ok', ends: ['SUCCEEDED', 'REJECTED'] },
]

/** How a job on this topic may end: as its rule and its worker say, and by no accident. */
export function endsOf(topic: string): readonly string[] {
  return mix.find((kind) => kind.topic === topic)?.ends ?? []
}

/** The name under which a submission is found again on its records, whatever became of it. */
export const traceOf = (n: number): string => `submission-${n}`

/** What a worker does with a job: the job itself says it, so that nobody has to remember. */
export type Work = 'ok' | 'error' | 'silent' | 'fail-once'

/** What an agent knows of one job that it submitted. */
export type Submitted = {
  readonly n: number
  readonly topic: string
  readonly agent: string
  /** Published without a message id and without waiting: nobody tells the agent anything. */
  readonly plain: boolean
  answer?: Asked
}

const agents = [
  { user: 'demo', prefix: 'job.' },
  { user: 'support-bot', prefix: 'job.support-bot.' },
  { user: 'billing-bot', prefix: 'job.billing-bot.' },
] as const

const requestTimeoutMs = 4_000
const retryAfterMs = 50
const plainShare = 0.2
const aheadMax = 100

export type Load = {
  readonly submitted: readonly Submitted[]
  /** Resolves when every agent that asked has its answer. */
  readonly done: Promise<void>
}

/**
 * Submits `count` jobs, each agent on a connection that outlives every gateway. `stored` says how many have a record: nobody
 * runs further ahead than `aheadMax`, so that a slow machine makes the test longer and not another one.
 */
export async function startLoad(
  nats: TestNats,
  chance: Chance,
  count: number,
  stored: () => number,
): Promise<Load> {
  const connections = await Promise.all(agents.map(({ user }) => nats.connect(user, reconnecting)))
  const submitted: Submitted[] = []
  const run = async (): Promise<void> => {
    const asking: Promise<void>[] = []
    for (let n = 0; n < count; n++) {
      while (n - stored() > aheadMax) await sleep(20)
      if (n % 8 === 0) await sleep(chance.between(0, 60))
      const index = chance.between(0, agents.length - 1)
      const { user, prefix } = agents[index] ?? agents[0]
      const { topic, work } = pick(chance)
      const job: Submitted = { n, topic, agent: user, plain: chance.next() < plainShare }
      submitted.push(job)
      const body = JSON.stringify({ trace_id: traceOf(n), payload: { work } })
      const connection = connections[index] as NatsConnection
      if (job.plain) connection.publish(prefix + topic, body)
      else asking.push(ask(connection, prefix + topic, body, job))
    }
    await Promise.all(asking)
  }
  return { submitted, done: run() }
}

function pick(chance: Chance): Kind {
  let left = chance.next() * 100
  for (const entry of mix) {
    left -= entry.share
    if (left < 0) return entry
  }
  return mix[0] as Kind
}

/** Until there is an answer about a stored job, always under the same message id: that is all an agent has to do. */
async function ask(connection: NatsConnection, subject: string, body: string, job: Submitted): Promise<void> {
  const named = headers()
  named.set('Nats-Msg-Id', `n-${job.n}`)
  while (!connection.isClosed()) {
    const reply = await connection
      .request(subject, body, { timeout: requestTimeoutMs, headers: named })
      .catch(() => undefined)
    const answer = reply?.json<Asked>()
    if (answer?.job_id !== undefined) {
      job.answer = answer
      return
    }
    await sleep(retryAfterMs)
  }
}
