import { headers, type Msg, type MsgHdrs, type NatsConnection } from '@nats-io/transport-node'

import { answerJob } from '../helpers/gateway.ts'
import type { TestNats } from '../helpers/nats-server.ts'
import { reconnecting } from '../crash/patience.ts'
import type { Received } from '../crash/workers.ts'
import type { Hostile } from './hostile.ts'

/** What an agent was told about a job: it must stand on record, and the job must end. */
export type Told = {
  readonly job: string
  readonly state: string | undefined
  readonly where: string
}

/** Everybody on the bus who is not a gateway, each within what the server lets them do. */
export type OverNats = {
  /** One hostile act, by somebody. */
  readonly act: () => Promise<void>
  readonly told: readonly Told[]
  readonly received: readonly Received[]
  counts(): Readonly<Record<string, number>>
  /** Lifts every stop that was ordered. */
  goOn(): Promise<void>
}

type Answer = {
  readonly job_id?: string
  readonly state?: string
  readonly decision?: { readonly reason?: string; readonly rule_id?: string }
}

const answerWithinMs = 2_000
const outputBytes = 200_000

export async function overNats(nats: TestNats, evil: Hostile): Promise<OverNats> {
  const told: Told[] = []
  const received: Received[] = []
  const counts: Record<string, number> = {}
  const parked: string[] = []
  const users = ['demo', 'support-bot', 'billing-bot', 'helpdesk-1', 'exec-1', 'demo-approver'] as const
  const more = ['second-approver', 'demo-auditor', 'demo-operator'] as const
  const by = new Map<string, NatsConnection>()
  for (const user of [...users, ...more]) by.set(user, await nats.connect(user, reconnecting))
  const as = (user: (typeof users)[number] | (typeof more)[number]): NatsConnection =>
    by.get(user) as NatsConnection
  const ask = async (
    connection: NatsConnection,
    subject: string,
    body: string | Uint8Array,
  ): Promise<Msg | undefined> =>
    connection
      .request(subject, body, { timeout: answerWithinMs, headers: headersOf(evil) })
      .catch(() => undefined)

  const note = (reply: Msg | undefined, where: string): void => {
    const answer = parsed(reply)
    if (answer?.job_id === undefined || answer.state === undefined) return
    // Beyond the records that one agent may cause, refusals are counted and not written down one by one.
    if (answer.decision?.reason?.includes('only counted') === true) return
    // Another job under a known message id: refused beside the chain of the one that has it.
    const other = answer.decision?.rule_id === 'sluice.idempotency-conflict'
    told.push({ job: answer.job_id, state: other ? undefined : answer.state, where })
  }
  const acts: Readonly<Record<string, () => Promise<unknown>>> = {
    submit: async () => {
      const [user, prefix] = evil.pick([
        ['demo', 'job.'],
        ['support-bot', 'job.support-bot.'],
        ['billing-bot', 'job.billing-bot.'],
      ] as const)
      note(await ask(as(user), prefix + evil.topic(), evil.job()), `nats ${user}`)
    },
    plain: async () => as('demo').publish(`job.${evil.topic()}`, evil.job(), { headers: headersOf(evil) }),
    result: async () => {
      const subject = `result.helpdesk-1.${evil.often(0.5) ? evil.pick(jobs()) : `${evil.name()}.${evil.name()}`}`
      as('helpdesk-1').publish(subject, evil.bytes(), { headers: headersOf(evil) })
    },
    resolve: async () => {
      const job = evil.often(0.7) && parked.length > 0 ? (parked.shift() ?? '') : evil.pick(jobs())
      const decision = { decision: evil.pick(['approve', 'reject', 'maybe']), note: evil.name() }
      await ask(
        as('demo-approver'),
        `approvals.resolve.demo-approver.${job}`,
        evil.often(0.6) ? JSON.stringify(decision) : evil.json(),
      )
    },
    control: async () => {
      const verb = evil.pick(['stop', 'resume', 'list'])
      await ask(
        as('demo-operator'),
        `control.demo-operator.${verb}`,
        evil.often(0.5) ? evil.json() : evil.bytes(),
      )
    },
    stopAndGoOn: async () => {
      const order = { scope: { kind: 'tenant', tenant: 'acme' }, reason: evil.name() }
      const stop = await ask(as('demo-operator'), 'control.demo-operator.stop', JSON.stringify(order))
      const { id } = stop?.json<{ id?: string }>() ?? {}
      await ask(
        as('demo-operator'),
        'control.demo-operator.resume',
        JSON.stringify({ id, stage: 'resumed', reason: 'x' }),
      )
    },
    forbidden: async () => {
      const user = evil.pick([...users, ...more])
      const subject = evil.pick([
        'worker.helpdesk.x',
        'audit._control',
        'gov.command.a.b',
        '$JS.API.INFO',
        'http.a.b.c',
      ])
      as(user).publish(subject, evil.bytes(), { headers: headersOf(evil) })
    },
    read: async () => {
      await ask(as('demo-auditor'), 'gov.API.DIRECT.GET.AUDIT', evil.json())
    },
  }
  const weighted = [
    ...Array<string>(10).fill('submit'),
    ...Array<string>(3).fill('plain'),
    ...Object.keys(acts),
  ]
  const jobs = (): readonly string[] =>
    told.length > 0 ? told.slice(-50).map(({ job }) => job) : ['default.none']

  const take = (worker: string, pool: Received['pool'], job: Msg): void => {
    received.push({
      job: job.headers?.last('Sluice-Job') ?? '',
      attempt: Number(job.headers?.last('Sluice-Attempt')),
      pool,
    })
    work(as(worker as 'exec-1'), worker, job, evil)
  }
  as('helpdesk-1').subscribe('worker.helpdesk.>', {
    queue: 'helpdesk',
    callback: (error, job) => {
      if (error === null) take('helpdesk-1', 'helpdesk', job)
    },
  })
  pulling(as('exec-1'), '_INBOX_exec-1.jobs', 'gov.API.CONSUMER.MSG.NEXT.WORK.exec', (job) =>
    take('exec-1', 'exec', job),
  )
  pulling(
    as('demo-approver'),
    '_INBOX_demo-approver.jobs',
    'gov.API.CONSUMER.MSG.NEXT.APPROVALS.approvers',
    (job) => {
      parked.push(job.headers?.last('Sluice-Job') ?? '')
    },
  )
  await Promise.all([...by.values()].map((connection) => connection.flush()))
  return {
    told,
    received,
    counts: () => counts,
    goOn: async () => {
      const operator = as('demo-operator')
      const order = (verb: string, body: object): Promise<Msg> =>
        operator.request(`control.demo-operator.${verb}`, JSON.stringify(body), { timeout: 30_000 })
      const { stops } = (await order('list', {})).json<{ stops: { id: string; state: string }[] }>()
      for (const { id, state } of stops)
        if (state !== 'resumed') await order('resume', { id, stage: 'resumed', reason: 'the end' })
    },
    act: async () => {
      const name = evil.pick(weighted)
      counts[name] = (counts[name] ?? 0) + 1
      // The client itself refuses some of it: a subject it cannot write down is not on its way to us.
      await Promise.resolve(acts[name]?.()).catch(() => undefined)
    },
  }
}

function headersOf(evil: Hostile): MsgHdrs {
  const made = headers()
  for (const [name, value] of evil.headers()) made.append(name, value)
  return made
}

function parsed(reply: Msg | undefined): Answer | undefined {
  try {
    return reply?.json<Answer>()
  } catch {
    return undefined
  }
}

/** As the job itself says; sometimes twice, sometimes in another's name. */
function work(connection: NatsConnection, worker: string, job: Msg, evil: Hostile): void {
  const wanted = /"work":"(\w+)"/.exec(job.string())?.[1] ?? 'ok'
  if (wanted === 'silent') return
  const card = ['4111', '1111', '1111', '1111'].join(' ')
  const body = wanted === 'card' ? card : wanted === 'huge' ? 'x'.repeat(outputBytes) : evil.json()
  if (wanted === 'forge') {
    const forged = headers()
    for (const [name, value] of evil.headers()) forged.append(name, value)
    connection.publish(`result.${worker}.${job.headers?.last('Sluice-Job') ?? ''}`, body, { headers: forged })
  }
  answerJob(connection, worker, job, body, wanted === 'error' ? 'error' : 'ok')
  if (evil.often(0.1)) answerJob(connection, worker, job, evil.bytes())
}

const fetchEveryMs = 250

/** Asks a consumer again and again, and acknowledges what comes. */
function pulling(connection: NatsConnection, inbox: string, next: string, handle: (job: Msg) => void): void {
  connection.subscribe(inbox, {
    callback: (error, job) => {
      if (error !== null || job.headers?.has('Sluice-Job') !== true) return
      job.respond('')
      handle(job)
    },
  })
  const timer = setInterval(() => {
    if (connection.isClosed()) return clearInterval(timer)
    connection.publish(next, JSON.stringify({ batch: 64, expires: fetchEveryMs * 1_000_000 }), {
      reply: inbox,
    })
  }, fetchEveryMs)
}
