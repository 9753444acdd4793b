import { jetstream } from '@nats-io/jetstream'
import { headers, type Msg, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { settled } from '../helpers/settled.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'

const id = 'm0123456789012345678901234'
const job = `default.${id}`

describe('what each role is there for, it can do with an ordinary client', () => {
  let nats: TestNats
  let gateway: NatsConnection
  beforeAll(async () => {
    nats = await startTestNats()
    gateway = await nats.connect('gateway')
  })
  afterAll(() => nats.stop())

  const subjectsOf = async (stream: string): Promise<Record<string, number>> => {
    const answer = await gateway.request(
      `$JS.API.STREAM.INFO.${stream}`,
      JSON.stringify({ subjects_filter: '>' }),
    )
    return answer.json<{ state: { subjects?: Record<string, number> } }>().state.subjects ?? {}
  }

  test('an agent alone in its account publishes plain topics, which are stored under its tenant and name', async () => {
    const agent = await nats.connect('demo')
    agent.publish('job.mcp-bridge.read.x', '{}')
    // It cannot climb into another tenant by naming it: that is just a longer topic.
    agent.publish('job.acme.support-bot.read.x', '{}')
    await settled(agent)
    expect(await subjectsOf('JOBS_default_demo')).toEqual({
      'job.default.demo.mcp-bridge.read.x': 1,
      'job.default.demo.acme.support-bot.read.x': 1,
    })
    expect(await subjectsOf('JOBS_acme_support-bot')).toEqual({})
  })

  test("a sibling that uses an agent's message id first changes nothing for it", async () => {
    const withId = headers()
    withId.set('Nats-Msg-Id', 'the-same')
    for (const user of ['support-bot', 'billing-bot']) {
      const agent = await nats.connect(user)
      agent.publish(`job.${user}.read.x`, '{}', { headers: withId })
      await settled(agent)
    }
    expect(await subjectsOf('JOBS_acme_support-bot')).toEqual({ 'job.acme.support-bot.read.x': 1 })
    expect(await subjectsOf('JOBS_acme_billing-bot')).toEqual({ 'job.acme.billing-bot.read.x': 1 })
  })

  test('an agent cannot have its earlier jobs removed by a header', async () => {
    const agent = await nats.connect('billing-bot')
    const before = Object.keys(await subjectsOf('JOBS_acme_billing-bot'))
    for (const [name, value] of [
      ['Nats-Rollup', 'all'],
      ['Nats-TTL', '1s'],
    ] as const) {
      const rewriting = headers()
      rewriting.set(name, value)
      agent.publish('job.billing-bot.rewrite', '{}', { headers: rewriting })
    }
    await settled(agent)
    expect(Object.keys(await subjectsOf('JOBS_acme_billing-bot'))).toEqual(expect.arrayContaining(before))
    expect(before.length).toBeGreaterThan(0)
  })

  test('an agent is answered by the gateway alone, not by the store', async () => {
    const subscription = gateway.subscribe('job.default.demo.ask.>', {
      callback: (_, message) => void message.respond('from the gateway'),
    })
    const agent = await nats.connect('demo')
    expect((await agent.request('job.ask.me', '{}')).string()).toBe('from the gateway')
    subscription.unsubscribe()
  })

  test('an agent alone in its account hears its decisions and outputs, and those of nobody else', async () => {
    const agent = await nats.connect('demo')
    const heard: string[] = []
    for (const subject of ['decision.>', 'output.>']) {
      agent.subscribe(subject, { callback: (_, message) => void heard.push(message.subject) })
    }
    await agent.flush()
    for (const owner of ['acme.support-bot', 'default.demo']) {
      gateway.publish(`decision.${owner}.${id}`)
      gateway.publish(`output.${owner}.${id}`)
    }
    await gateway.flush()
    await expect.poll(() => heard).toContain(`output.${id}`)
    expect(heard).toEqual([`decision.${id}`, `output.${id}`])
  })

  test('a stored dispatch reaches exactly one worker of a core pool, and nobody in a pull pool', async () => {
    const heard: string[] = []
    for (const user of ['helpdesk-1', 'helpdesk-2']) {
      const worker = await nats.connect(user)
      worker.subscribe('worker.helpdesk.>', {
        queue: 'helpdesk',
        callback: (_, message) => void heard.push(message.subject),
      })
      await worker.flush()
    }
    for (let attempt = 1; attempt <= 10; attempt++) {
      await gateway.request(`gov.dispatch.helpdesk.mcp-bridge.read.x.${job}.${attempt}`, '{}')
    }
    const expected = Array.from({ length: 10 }, (_, n) => `worker.helpdesk.mcp-bridge.read.x.${job}.${n + 1}`)
    await expect.poll(() => heard.length).toBeGreaterThanOrEqual(10)
    expect(heard.toSorted()).toEqual(expected.toSorted())
  })

  test('a pull worker fetches and acknowledges its work, once', async () => {
    await gateway.request(`gov.dispatch.exec.agent.exec.run.${job}.1`, 'what to do')
    const worker = await nats.connect('exec-1')
    const consumer = await jetstream(worker, { apiPrefix: 'gov.API' }).consumers.get('WORK', 'exec')
    const message = await consumer.next({ expires: 2_000 })
    expect(message?.string()).toBe('what to do')
    expect(await message?.ackAck()).toBe(true)
    expect(await consumer.next({ expires: 1_000 })).toBeNull()
  })

  test("a worker's result stands under its pool and its name, and is not acknowledged by the store", async () => {
    const worker = await nats.connect('helpdesk-1')
    await expect(worker.request(`result.helpdesk-1.${job}`, '{}', { timeout: 300 })).rejects.toThrow()
    expect(await subjectsOf('RESULTS_helpdesk')).toEqual({ [`result.helpdesk.helpdesk-1.${job}`]: 1 })
  })

  test('a worker hears that its job is to be stopped', async () => {
    const worker = await nats.connect('exec-1')
    const cancels = worker.subscribe('cancel.exec-1.>', { max: 1 })
    await worker.flush()
    gateway.publish(`cancel.exec.exec-1.${job}`)
    for await (const message of cancels) expect(message.subject).toBe(`cancel.exec-1.${job}`)
  })

  test('an approver pulls what waits, byte for byte, and its resolution arrives under its own name', async () => {
    const body = '{ "payload": {"spaced":  true} }'
    await gateway.request(`approvals.pending.${job}`, body)
    const approver = await nats.connect('demo-approver')
    const consumer = await jetstream(approver, { apiPrefix: 'gov.API' }).consumers.get(
      'APPROVALS',
      'approvers',
    )
    const message = await consumer.next({ expires: 2_000 })
    expect(message?.string()).toBe(body)
    expect(await message?.ackAck()).toBe(true)
    const asked: Msg[] = []
    gateway.subscribe('approvals.resolve.>', {
      callback: (_, request) => {
        asked.push(request)
        request.respond('noted')
      },
    })
    await gateway.flush()
    expect((await approver.request(`approvals.resolve.demo-approver.${job}`, '{}')).string()).toBe('noted')
    expect(asked.map(({ subject }) => subject)).toEqual([`approvals.resolve.demo-approver.${job}`])
    // Seeing is not deciding: what waits is still there.
    expect(await subjectsOf('APPROVALS')).toEqual({ [`approvals.pending.${job}`]: 1 })
  })

  test('an auditor reads the trail by number and by subject', async () => {
    await gateway.request(`audit.${job}`, 'the first')
    await gateway.request(`audit.${job}`, 'the second')
    const auditor = await nats.connect('demo-auditor')
    const first = await auditor.request('gov.API.DIRECT.GET.AUDIT', JSON.stringify({ seq: 1 }))
    expect(first.string()).toBe('the first')
    const last = await auditor.request(`gov.API.DIRECT.GET.AUDIT.audit.${job}`)
    expect(last.string()).toBe('the second')
    // As clients ask that know no direct get.
    const read = await auditor.request('gov.API.STREAM.MSG.GET.AUDIT', JSON.stringify({ seq: 1 }))
    expect(read.json<{ message: { data: string } }>().message.data).toBe(btoa('the first'))
    const info = await auditor.request('gov.API.STREAM.INFO.AUDIT')
    expect(info.json<{ state: { messages: number } }>().state.messages).toBe(2)
  })

  test('what the trail holds can be neither deleted nor purged, by the owner either', async () => {
    const owned = await startTestNats({ owner: 'stays' })
    try {
      const [trail, owner] = [await owned.connect('gateway'), await owned.connect('owner')]
      await trail.request(`audit.${job}`, 'a record')
      for (const [verb, body] of [
        ['STREAM.MSG.DELETE', { seq: 1 }],
        ['STREAM.PURGE', {}],
      ] as const) {
        const answer = await owner.request(`$JS.API.${verb}.AUDIT`, JSON.stringify(body))
        expect(answer.json<{ error?: { description: string } }>().error?.description).toMatch(/not permitted/)
      }
    } finally {
      await owned.stop()
    }
  })
})
