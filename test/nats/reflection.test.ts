import { type Msg, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { settled } from '../helpers/settled.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'

/**
 * A server checks the subject of a message but not the reply subject in it: whoever answers, the server included,
 * answers there. Here every role points the reply of something harmless at something it may not say. In each account a
 * witness listens on exactly that subject (a delivered message shows the subject it was stored under, so a wildcard
 * could not tell where it was sent to).
 */
const accounts = ['GOV', 'DEMO', 'ACME', 'POOL_HELPDESK', 'POOL_EXEC', 'OPS']
const witnessPassword = ['wit', 'ness'].join('')
const job = 'default.m0123456789012345678901234'

describe('a reply subject carries nobody further than its own account', () => {
  let nats: TestNats
  let gateway: NatsConnection
  const witnesses = new Map<string, NatsConnection>()

  beforeAll(async () => {
    nats = await startTestNats({ conf: withWitnesses })
    for (const account of accounts) {
      witnesses.set(
        account,
        await nats.connect(`witness-${account}`, { pass: witnessPassword, inboxPrefix: '_INBOX' }),
      )
    }
    gateway = await nats.connect('gateway')
    const answer = (_: Error | null, message: Msg): void => {
      if (message.reply?.startsWith('_R_.') === true) message.respond('{"state":"DENIED"}')
    }
    gateway.subscribe('job.>', { callback: answer })
    gateway.subscribe('approvals.resolve.>', { callback: answer })
    await gateway.flush()
  })
  afterAll(() => nats.stop())

  /** Starts listening on one subject in every account; returns the accounts in which something arrived so far. */
  const listen = async (subject: string): Promise<() => string[]> => {
    const heard: string[] = []
    for (const [account, witness] of witnesses) {
      witness.subscribe(subject, { callback: () => void heard.push(account) })
      await witness.flush()
    }
    return () => heard
  }

  /** Says it, waits until the answer is where the reply points in the speaker's own account, and looks everywhere else. */
  const reflect = async (user: string, account: string, subject: string, body: string, reply: string) => {
    const heard = await listen(reply)
    const connection = await nats.connect(user)
    connection.publish(subject, body, { reply })
    await expect.poll(heard).toContain(account)
    await settled(connection)
    await settled(gateway)
    for (const witness of witnesses.values()) await settled(witness)
    expect(heard()).toEqual([account])
  }

  const stored = async (stream: string): Promise<number> => {
    const answer = await gateway.request(`$JS.API.STREAM.INFO.${stream}`)
    return answer.json<{ state: { messages: number } }>().state.messages
  }

  test.each(['worker.helpdesk.evil', 'audit.default.forged', 'gov.command.default.forged'])(
    'an agent has its job answered on %s',
    (reply) => reflect('demo', 'DEMO', 'job.mcp-bridge.read.x', '{}', reply),
  )

  test("an agent has its job answered as a sibling's job", async () => {
    await reflect('support-bot', 'ACME', 'job.support-bot.read.x', '{}', 'job.billing-bot.read.loop')
    expect(await stored('JOBS_acme_support-bot')).toBe(1)
    expect(await stored('JOBS_acme_billing-bot')).toBe(0)
  })

  test.each(['worker.helpdesk.evil', `result.helpdesk-2.${job}`, 'audit.default.forged'])(
    'a worker has its result acknowledged on %s',
    async (reply) => {
      const heard = await listen(reply)
      const beat = await listen('hb.helpdesk.helpdesk-1')
      const worker = await nats.connect('helpdesk-1')
      worker.publish(`result.helpdesk-1.${job}`, '{}', { reply })
      // Nobody acknowledges a result, so the next thing that the worker says marks the end of the wait.
      worker.publish('hb.helpdesk-1')
      await expect.poll(beat).toContain('GOV')
      await settled(worker)
      for (const witness of witnesses.values()) await settled(witness)
      expect(heard()).toEqual([])
    },
  )

  test.each([
    'worker.exec.evil',
    'audit.default.forged',
    'gov.dispatch.exec.evil',
    'gov.command.default.forged',
  ])('a pull worker has its work delivered on %s', async (reply) => {
    await dispatch(gateway)
    await reflect('exec-1', 'POOL_EXEC', 'gov.API.CONSUMER.MSG.NEXT.WORK.exec', '{"batch":1}', reply)
  })

  test('a pull worker has its next work delivered as a core dispatch by way of an acknowledgement', async () => {
    await dispatch(gateway)
    await dispatch(gateway)
    const worker = await nats.connect('exec-1')
    const taken = await pull(worker, 'gov.API.CONSUMER.MSG.NEXT.WORK.exec', '_INBOX_exec-1.pulled')
    await reflect('exec-1', 'POOL_EXEC', taken.reply ?? '', '+NXT', 'worker.exec.next')
  })

  test.each([
    'worker.helpdesk.evil',
    'worker.exec.evil',
    'audit.default.forged',
    'gov.command.default.forged',
    `approvals.resolve.second-approver.${job}`,
  ])('an approver has a parked job delivered on %s', async (reply) => {
    await park(gateway)
    await reflect(
      'demo-approver',
      'OPS',
      'gov.API.CONSUMER.MSG.NEXT.APPROVALS.approvers',
      '{"batch":1}',
      reply,
    )
  })

  test.each(['worker.helpdesk.evil', 'audit.default.forged'])(
    'an approver has a resolution answered on %s',
    (reply) => reflect('demo-approver', 'OPS', `approvals.resolve.demo-approver.${job}`, '{}', reply),
  )

  test.each(['worker.helpdesk.evil', `approvals.resolve.demo-approver.${job}`])(
    'an auditor has a record delivered on %s',
    async (reply) => {
      await gateway.request(`audit.${job}`, 'a record')
      await reflect('demo-auditor', 'OPS', 'gov.API.DIRECT.GET.AUDIT', '{"seq":1}', reply)
    },
  )

  test('nothing that was reflected is on the trail or among the commands', async () => {
    const answer = await gateway.request(
      '$JS.API.STREAM.INFO.AUDIT',
      JSON.stringify({ subjects_filter: '>' }),
    )
    expect(Object.keys(answer.json<{ state: { subjects: object } }>().state.subjects)).toEqual([
      `audit.${job}`,
    ])
    expect(await stored('COMMANDS')).toBe(0)
  })
})

/** A user in every account that hears everything and may say nothing. */
function withWitnesses(conf: string): string {
  return accounts.reduce((text, account) => {
    const users = new RegExp(`^( {2}${account} \\{[^]*?users: \\[)`, 'm')
    const witness = `{ user: witness-${account}, password: ${witnessPassword}, permissions: { publish: { deny: ">" } } }`
    return text.replace(users, `$1\n      ${witness}`)
  }, conf)
}

let count = 0

async function dispatch(gateway: NatsConnection): Promise<void> {
  await gateway.request(`gov.dispatch.exec.agent.exec.x.${job}.${++count}`, '{}')
}

async function park(gateway: NatsConnection): Promise<void> {
  await gateway.request(`approvals.pending.default.m012345678901234567890123${++count}`, '{}')
}

/** One message, on a subscription of its own: it arrives under the subject it was stored under. */
async function pull(connection: NatsConnection, api: string, inbox: string): Promise<Msg> {
  const subscription = connection.subscribe(inbox, { max: 1 })
  connection.publish(api, JSON.stringify({ batch: 1 }), { reply: inbox })
  for await (const message of subscription) return message
  throw new Error('nothing was delivered')
}
