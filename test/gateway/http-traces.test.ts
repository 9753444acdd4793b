import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { JobTimeline } from '../../audit/fold.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { apiOf, type ApiCall } from '../helpers/api.ts'
import { answerJob, ask, coreWorker, readAudit, testConfig } from '../helpers/gateway.ts'
import { runsOn } from '../helpers/which-server.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'

const read = 'job.mcp-bridge.read.get_ticket'
const write = 'job.mcp-bridge.write.update_ticket'

type Trace = { trace_id: string; tenant: string; complete: boolean; jobs: JobTimeline[]; truncated?: boolean }

let nats: TestNats
let gateway: Gateway
let api: ApiCall

beforeAll(async () => {
  nats = await startTestNats()
  gateway = await startGateway(await testConfig(nats, await readFile('deploy/policy.yaml', 'utf8')))
  api = apiOf(gateway.httpUrl)
  await coreWorker(nats, 'helpdesk-1', (job) => {
    const { payload } = job.json<{ payload?: { card?: string; fail?: boolean } }>()
    return {
      body: JSON.stringify({ said: payload?.card ?? 'ok' }),
      status: payload?.fail === true ? 'error' : 'ok',
    }
  })
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

const submit = async (body: object): Promise<{ job: string; trace: string }> => {
  const { job_id, trace_id } = (await api('POST', '/api/v1/jobs', body)).body
  return { job: String(job_id), trace: String(trace_id) }
}
const end = (job: string): ReturnType<ApiCall> => api('GET', `/api/v1/jobs/${job}?wait=20`)
const traceOf = async (id: string, query = ''): Promise<Trace> =>
  (await api('GET', `/api/v1/traces/${id}${query}`)).body as unknown as Trace

describe('a trace', () => {
  // It lies with the index and not with the server.
  test.runIf(runsOn('current'))(
    'shows the job that was asked for, however many others claim its trace id, and says that some are left out',
    async () => {
      const { job, trace } = await submit({ topic: read, trace_id: 'crowded-1' })
      const agent = await nats.connect('demo')
      for (let n = 0; n < 200; n++)
        agent.publish('job.nowhere', JSON.stringify({ trace_id: trace, payload: { n } }))
      await agent.flush()
      await expect
        .poll(async () => (await traceOf(trace)).jobs.some(({ job_id }) => job_id === job))
        .toBe(false)
      const told = await traceOf(job)
      expect(told).toMatchObject({ trace_id: trace, truncated: true, complete: false })
      expect(told.jobs.find(({ job_id }) => job_id === job)?.events.length).toBeGreaterThan(0)
    },
  )

  test('is not whole where refused acts about a job are left out', async () => {
    const { job } = await submit({ topic: read })
    await end(job)
    expect(await traceOf(job)).not.toHaveProperty('truncated')
    // More workers than one, because each may have only so many single records at once.
    for (const name of ['helpdesk-1', 'helpdesk-2']) {
      const worker = await nats.connect(name)
      for (let n = 0; n < 60; n++) worker.publish(`result.${name}.${job}`, `{"n":${n}}`)
      await worker.flush()
    }
    await expect.poll(async () => (await traceOf(job)).truncated).toBe(true)
    expect((await traceOf(job)).jobs[0]?.refused).toHaveLength(100)
  })

  test('is the whole story of an approved job, each event what the record says', async () => {
    const { job, trace } = await submit({ topic: write, risk_tags: ['prod'], trace_id: 'story-1' })
    await api('POST', `/api/v1/approvals/${job}/approve`, { note: 'looked at it' })
    await end(job)
    const told = await traceOf(trace)
    expect(told).toMatchObject({ trace_id: 'story-1', tenant: 'default', complete: true })
    expect(told.jobs).toHaveLength(1)
    const [{ events, ...rest }] = told.jobs as [JobTimeline]
    expect(rest).toMatchObject({ job_id: job, state: 'SUCCEEDED', topic: write, complete: true, refused: [] })
    expect(events.map(({ event, state }) => [event, state.from, state.to])).toEqual([
      ['parked', 'RECEIVED', 'PARKED'],
      ['approved', 'PARKED', 'DISPATCHED'],
      ['succeeded', 'DISPATCHED', 'SUCCEEDED'],
    ])
    const [parked, approved, succeeded] = events
    const actor = { type: 'agent', id: 'demo', auth: 'http' }
    for (const event of events)
      expect(event).toMatchObject({
        actor,
        rule_id: 'require-approval-prod-write',
        reason: 'Production writes require human review',
        decision: { type: 'REQUIRE_APPROVAL' },
        policy_snapshot: event.decision.policy_snapshot,
        job_hash: events[0]?.job_hash,
      })
    expect(parked?.approval?.rules).toEqual(['require-approval-prod-write'])
    expect(parked).not.toHaveProperty('attempt')
    expect(approved).toMatchObject({
      approver: 'demo-approver',
      resolution: { decision: 'approve', note: 'looked at it', binding: 'server' },
      attempt: 1,
      pool: 'helpdesk',
    })
    expect(succeeded).toMatchObject({
      attempt: 1,
      result: { worker: 'helpdesk-1', status: 'ok', action: 'pass' },
      findings: [],
      terminal: { status: 'SUCCEEDED', events: 3 },
    })
    expect(succeeded).not.toHaveProperty('resolution')
    const records = (await readAudit(nats)).filter(({ subject }) => subject === `audit.${job}`)
    expect(events.map(({ seq, id, time, type }) => [seq, id, time, type])).toEqual(
      records.map(({ seq, record }) => [seq, record.id, record.time, record.type]),
    )
  })

  test('holds all jobs of one id in the order in which they came', async () => {
    const jobs: string[] = []
    for (const topic of [read, 'job.unknown.x', read])
      jobs.push((await submit({ topic, trace_id: 'many' })).job)
    for (const job of jobs) await end(job)
    const told = await traceOf('many')
    expect(told.jobs.map(({ job_id, state }) => [job_id, state])).toEqual([
      [jobs[0], 'SUCCEEDED'],
      [jobs[1], 'DENIED'],
      [jobs[2], 'SUCCEEDED'],
    ])
    expect(told.complete).toBe(true)
  })

  test('is not complete while one of its jobs is open', async () => {
    const { job } = await submit({ topic: write, risk_tags: ['prod'], trace_id: 'open' })
    expect(await traceOf('open')).toMatchObject({
      complete: false,
      jobs: [{ state: 'PARKED', complete: false }],
    })
    await api('POST', `/api/v1/approvals/${job}/reject`)
    expect(await traceOf('open')).toMatchObject({
      complete: true,
      jobs: [{ state: 'REJECTED', complete: true }],
    })
  })

  test('shows what was refused beside the chain', async () => {
    const { job, trace } = await submit({ topic: read })
    await end(job)
    const late = await nats.connect('helpdesk-2')
    answerJob(late, 'helpdesk-2', { headers: new Map([['Sluice-Job', job]]) } as never, '{}')
    await late.flush()
    for (;;) {
      const [told] = (await traceOf(trace)).jobs
      if (told?.refused.length === 0) continue
      expect(told).toMatchObject({
        state: 'SUCCEEDED',
        complete: true,
        refused: [{ refuse: 'late-result', principal: 'helpdesk/helpdesk-2' }],
      })
      break
    }
  })

  test('names findings and never what was found', async () => {
    const card = ['4111', '1111', '1111', '1111'].join(' ')
    const { job, trace } = await submit({ topic: read, payload: { card } })
    const { result } = (await end(job)).body as { result: { body: { said: string }; action: string } }
    expect(result.action).toBe('redact')
    expect(JSON.stringify(result.body)).not.toContain(card)
    const told = await traceOf(trace)
    const last = told.jobs[0]?.events.at(-1)
    expect(last?.findings?.length).toBeGreaterThan(0)
    expect(JSON.stringify(told)).not.toContain('4111')
  })

  test('of a job id is the trace of that job', async () => {
    const { job } = await submit({ topic: read, trace_id: 'by-job' })
    expect(await traceOf(job)).toMatchObject({ trace_id: 'by-job', jobs: [{ job_id: job }] })
  })

  test('that nobody used is a 404', async () => {
    const answer = await api('GET', '/api/v1/traces/nobody-used-this')
    expect([answer.status, answer.body['code']]).toEqual([404, 'not_found'])
  })
})

test('one answer holds one tenant: a trace id that two tenants use is two traces', async () => {
  const agent = await nats.connect('support-bot')
  const theirs = await ask(agent, `job.support-bot.${read.slice(4)}`, { trace_id: 'shared' })
  const only = await traceOf('shared')
  expect(only).toMatchObject({ tenant: 'acme', jobs: [{ job_id: theirs.job_id, tenant: 'acme' }] })
  const ours = await submit({ topic: read, trace_id: 'shared' })
  expect((await traceOf('shared')).jobs.map(({ job_id }) => job_id)).toEqual([ours.job])
  expect((await traceOf('shared', '?tenant=acme')).jobs.map(({ job_id }) => job_id)).toEqual([theirs.job_id])
  expect((await api('GET', '/api/v1/traces/shared?tenant=nobody')).status).toBe(404)
  expect((await api('GET', `/api/v1/traces/${theirs.job_id}?tenant=default`)).status).toBe(404)
  expect((await api('GET', '/api/v1/traces/shared?tenant=A.B')).status).toBe(400)
})
