import { writeFile } from 'node:fs/promises'
import type { NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Bus } from '../../gateway/bus/bus.ts'
import type { Config } from '../../gateway/config/config.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { newToken, tokenHash } from '../../gateway/http/token.ts'
import type { ApprovalItem } from '../../gateway/queries/approval-item.ts'
import type { Tenants } from '../../gateway/queries/approvals-asked.ts'
import { apiOf, type ApiCall } from '../helpers/api.ts'
import { approverOn, type Resolve } from '../helpers/approver.ts'
import { ask, testConfig } from '../helpers/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'

/** What waits, as two gateways show it to callers who see more or less, while it changes under them. */

const rule = (id: string, approval = ''): string =>
  `  - { id: ${id}, match: { topics: ["job.${id}.*"] }, decision: require_approval${approval} }\n`
const both =
  ', approval: { thresholds: [{ from: { persons: [demo-approver, second-approver] }, approve: 2 }] }'
const second = ', approval: { thresholds: [{ from: { persons: [second-approver] }, approve: 1 }] }'
const policy = `version: v1\nrules:\n${rule('one')}${rule('two', both)}${rule('second', second)}`
const changed = `version: v1\nrules:\n${rule('one', second)}${rule('two', both)}${rule('second', second)}`

let nats: TestNats
let config: Config
let gateways: Gateway[]
let first: Resolve
let other: Resolve
let agents: readonly (readonly [NatsConnection, string])[]
/** For each gateway: somebody who sees all tenants, and one for each tenant alone. */
let callers: readonly (readonly [ApiCall, Tenants])[]
let approver: ApiCall
let reads = 0

beforeAll(async () => {
  nats = await startTestNats()
  config = await testConfig(nats, policy)
  const tokensFile = config.policyFile.replace('policy.yaml', 'tokens.yaml')
  const people = [
    { principal: 'all-seeing', roles: ['viewer'], tenants: 'all' },
    { principal: 'of-default', roles: ['viewer'], tenants: ['default'] },
    { principal: 'of-acme', roles: ['viewer'], tenants: ['acme'] },
    { principal: 'demo-approver', roles: ['approver'], tenants: 'all' },
  ] as const
  const tokens = people.map((entry) => ({ entry, token: newToken() }))
  const entries = tokens.map(({ entry, token }) => ({ ...entry, sha256: tokenHash(token) }))
  await writeFile(tokensFile, JSON.stringify({ tokens: entries }), { mode: 0o600 })
  config = { ...config, profile: 'standard', tokensFile }
  gateways = await Promise.all(
    ['one', 'two'].map((gateway) => startGateway({ ...config, gateway }, { bus: counting })),
  )
  const as = (gateway: Gateway | undefined, token: string): ApiCall => {
    const call = apiOf(gateway?.httpUrl ?? '')
    return (method, path, body) => call(method, path, body, { Authorization: `Bearer ${token}` })
  }
  callers = gateways.flatMap((gateway) =>
    tokens
      .slice(0, 3)
      .map(({ entry, token }): readonly [ApiCall, Tenants] => [as(gateway, token), entry.tenants]),
  )
  approver = as(gateways[0], tokens[3]?.token ?? '')
  first = await approverOn(nats, 'demo-approver')
  other = await approverOn(nats, 'second-approver')
  agents = [
    [await nats.connect('demo'), 'job.'],
    [await nats.connect('billing-bot'), 'job.billing-bot.'],
  ]
})
afterAll(async () => {
  await Promise.all(gateways.map((gateway) => gateway.stop()))
  await nats.stop()
})

/** Counts what is read of parked copies and of jobs' newest records. */
function counting(bus: Bus): Bus {
  return {
    ...bus,
    request: (subject, ...rest) => {
      if (subject === '$JS.API.STREAM.MSG.GET.APPROVALS') reads++
      return bus.request(subject, ...rest)
    },
    last: (stream, subject) => {
      if (stream === 'AUDIT') reads++
      return bus.last(stream, subject)
    },
  }
}

async function park(kind: string, by: number): Promise<string> {
  const [agent, prefix] = agents[by % 2] ?? [agents[0]?.[0] as NatsConnection, 'job.']
  const parked = await ask(agent, `${prefix}${kind}.x`, { payload: { kind } }, crypto.randomUUID())
  expect(parked.state).toBe('PARKED')
  return parked.job_id
}

/** All pages, each with at most so many. */
async function listed(api: ApiCall, limit: number, more = ''): Promise<ApprovalItem[]> {
  const items: ApprovalItem[] = []
  for (let cursor = ''; ;) {
    const { body } = await api('GET', `/api/v1/approvals?limit=${limit}${more}${cursor}`)
    const page = body as unknown as { items: ApprovalItem[]; next_cursor: string | null }
    expect(page.items.length).toBeLessThanOrEqual(limit)
    items.push(...page.items)
    if (page.next_cursor === null) return items
    cursor = `&cursor=${page.next_cursor}`
  }
}

/** What each job says of itself: read anew, and never from what a list remembers. */
async function truth(jobs: readonly string[]): Promise<ApprovalItem[]> {
  const [api] = callers[0] ?? []
  const shown = await Promise.all(
    jobs.map(async (job) => (await api?.('GET', `/api/v1/approvals/${job}`))?.body),
  )
  return (shown as unknown as ApprovalItem[]).filter(({ state }) => state === 'PARKED')
}

async function agree(jobs: readonly string[], limit: number): Promise<void> {
  const all = await truth(jobs)
  for (const [api, tenants] of callers) {
    const want = all.filter(({ job }) => tenants === 'all' || tenants.includes(job.tenant))
    const items = await listed(api, limit)
    const byId = (one: ApprovalItem, two: ApprovalItem): number => (one.job_id < two.job_id ? -1 : 1)
    expect(items.toSorted(byId)).toEqual(want.toSorted(byId))
  }
}

test('whatever happens to them, wherever: every gateway shows each caller its own, as they stand, and nothing else', async () => {
  const jobs: string[] = []
  for (let n = 0; n < 8; n++) jobs.push(await park(['one', 'two', 'second'][n % 3] ?? 'one', n >> 1))
  await agree(jobs, 4)
  await agree(jobs, 500)
  const acts: ((job: string) => Promise<unknown>)[] = [
    (job) => first(job, { decision: 'claim' }),
    (job) => first(job),
    (job) => other(job),
    (job) => other(job, { decision: 'reject' }),
    (job) => approver('POST', `/api/v1/approvals/${job}/claim`),
    (job) => approver('POST', `/api/v1/approvals/${job}/approve`, {}),
  ]
  for (const [n, at] of [0, 1, 2, 3, 4, 6].entries()) {
    await acts[n % acts.length]?.(jobs[at] ?? '')
    if (n === 3) jobs.push(await park('two', n))
    await agree(jobs, n % 2 === 0 ? 500 : 3)
  }
}, 120_000)

test('what is parked again under another requirement is shown once, with what it takes now', async () => {
  const job = await park('one', 0)
  const [api] = callers[0] ?? []
  if (api === undefined) throw new Error('nobody asks')
  const before = (await listed(api, 500)).filter(({ job_id }) => job_id === job)
  await writeFile(config.policyFile, changed)
  await Promise.all(gateways.map((gateway) => gateway.reload()))
  expect(await first(job)).toMatchObject({ status: 409, code: 'rebound' })
  for (const [caller, tenants] of callers) {
    const shown = (await listed(caller, 500)).filter(({ job_id }) => job_id === job)
    expect(shown).toHaveLength(tenants === 'all' || tenants.includes('default') ? 1 : 0)
    for (const item of shown) {
      expect(item.policy_snapshot).not.toBe(before[0]?.policy_snapshot)
      expect(item.lacks?.rules[0]?.thresholds[0]?.from).toEqual({
        kind: 'persons',
        names: ['second-approver'],
      })
    }
  }
  await writeFile(config.policyFile, policy)
  await Promise.all(gateways.map((gateway) => gateway.reload()))
})

test('a page that was read is not read again; only what has changed is', async () => {
  for (let n = 0; n < 30; n++) await park('one', n)
  const page = async (): Promise<readonly ApprovalItem[]> =>
    (await approver('GET', '/api/v1/approvals?limit=20')).body['items'] as ApprovalItem[]
  await page()
  reads = 0
  const before = await page()
  expect(before).toHaveLength(20)
  expect(reads).toBe(0)
  // Of those that anybody may decide about, and nobody has said anything about yet.
  const free = before.filter(({ votes, claim, lacks }) => {
    const from = lacks?.rules[0]?.thresholds[0]?.from
    return from?.kind === 'anyone' && votes[0] === undefined && claim === undefined
  })
  const [kept, gone] = free
  expect(await first(gone?.job_id ?? '', { decision: 'reject' })).toMatchObject({ state: 'REJECTED' })
  expect(await first(kept?.job_id ?? '', { decision: 'claim' })).toMatchObject({ state: 'PARKED' })
  reads = 0
  const after = await page()
  const jobs = (items: readonly ApprovalItem[]): string[] => items.map(({ job_id }) => job_id)
  expect(jobs(after.slice(0, 19))).toEqual(jobs(before.filter((item) => item !== gone)))
  expect(after.find(({ job_id }) => job_id === kept?.job_id)?.claim?.by).toBe('demo-approver')
  expect(after).toHaveLength(20)
  // Far from the forty of a page that nobody remembers.
  expect(reads).toBeGreaterThan(0)
  expect(reads).toBeLessThan(20)
})

test('“mine” is what the caller can decide about and has not yet, and is for approvers only', async () => {
  const [one, two, theirs] = [await park('one', 0), await park('two', 1), await park('second', 1)]
  const mine = async (limit: number): Promise<string[]> =>
    (await listed(approver, limit, '&mine=true')).map(({ job_id }) => job_id)
  for (const limit of [500, 1]) {
    const found = await mine(limit)
    expect(found).toEqual(expect.arrayContaining([one, two]))
    expect(found).not.toContain(theirs)
  }
  expect(await first(two)).toMatchObject({ state: 'PARKED' })
  expect(await mine(500)).not.toContain(two)
  const [viewer] = callers[0] ?? []
  expect((await viewer?.('GET', '/api/v1/approvals?mine=true'))?.body).toMatchObject({ code: 'forbidden' })
  for (const query of ['mine=perhaps', 'mine=true&include_resolved=true'])
    expect((await approver('GET', `/api/v1/approvals?${query}`)).body).toMatchObject({ code: 'invalid' })
})
