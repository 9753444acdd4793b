import { afterAll, beforeAll, expect, test } from 'vitest'
import type { NatsConnection } from '@nats-io/transport-node'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { readAudit, testConfig } from '../helpers/gateway.ts'

let nats: TestNats
let gateways: Gateway[]
let operator: NatsConnection

beforeAll(async () => {
  nats = await startTestNats()
  const config = await testConfig(
    nats,
    'version: v1\nrules: [{ id: free, match: { topics: ["job.free.*"] }, decision: allow }]\n',
  )
  gateways = [await startGateway(config), await startGateway({ ...config, gateway: 'test-2' })]
  operator = await nats.connect('demo-operator')
})
afterAll(async () => {
  await Promise.all(gateways.map((gateway) => gateway.stop()))
  await nats.stop()
})

type Shown = { id: string; state: string; by: string; code?: string; status?: number }
const asked = async (verb: string, body: unknown): Promise<Shown> =>
  (await operator.request(`control.demo-operator.${verb}`, JSON.stringify(body), { timeout: 10_000 })).json()
const posted = async (verb: string, body: unknown): Promise<unknown> => {
  const response = await fetch(`${gateways[0]?.httpUrl ?? ''}/api/v1/control/${verb}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return response.json()
}
const orders = async (): Promise<readonly string[]> =>
  (await readAudit(nats)).flatMap(({ record: { type, data } }) =>
    type.startsWith('sluice.control.') ? [`${type} ${(data as unknown as { id: string }).id}`] : [],
  )

test('an order by NATS is carried out once, though every gateway hears it, and stands on record under its operator', async () => {
  const stop = await asked('stop', { scope: { kind: 'tenant', tenant: 'acme' }, reason: 'incident 8' })
  expect(stop).toMatchObject({ state: 'stopped', by: 'demo-operator', reason: 'incident 8' })
  const { stops } = (await asked('list', {})) as unknown as { stops: Shown[] }
  expect(stops).toEqual([stop])
  const draining = await asked('resume', { id: stop.id, stage: 'draining', reason: 'first the queue' })
  expect(draining).toMatchObject({ id: stop.id, state: 'draining' })
  expect(await asked('resume', { id: stop.id, stage: 'resumed', reason: 'over' })).toMatchObject({
    state: 'resumed',
  })
  expect(await orders()).toEqual([
    `sluice.control.stopped.v1 ${stop.id}`,
    `sluice.control.draining.v1 ${stop.id}`,
    `sluice.control.resumed.v1 ${stop.id}`,
  ])
})

test('the same words a second time are a second order', async () => {
  const body = { scope: { kind: 'agent', tenant: 'acme', agent: 'support-bot' }, reason: 'again' }
  const [first, second] = [await asked('stop', body), await asked('stop', body)]
  expect(second.id).not.toBe(first.id)
})

/** Changes what the gateways have stored about all orders. */
async function plant(more: (holding: object[]) => object[]): Promise<void> {
  const bucket = await nats.connect('gateway')
  const before = await bucket.request(
    '$JS.API.STREAM.MSG.GET.KV_gov_control',
    JSON.stringify({ last_by_subj: '$KV.gov_control.stops' }),
  )
  const { data } = before.json<{ message: { data: string } }>().message
  const stored = JSON.parse(Buffer.from(data, 'base64').toString()) as object[]
  await bucket.request('$KV.gov_control.stops', JSON.stringify(more(stored)))
}

test('however often something was stopped and resumed before, it can be stopped again', async () => {
  const scope = { kind: 'tenant', tenant: 'acme' }
  const at = Date.now()
  const lifted = Array.from({ length: 1_500 }, (_, n) => ({
    ...{ id: `old-${n}`, scope, by: 'demo-operator', reason: `round ${n}` },
    ...{ at_ms: at, recorded_at_ms: at, draining_at_ms: at, resumed_at_ms: at },
  }))
  await plant((holding) => [...holding, ...lifted])
  const last = await asked('stop', { scope, reason: 'the last one' })
  const { stops } = (await asked('list', {})) as unknown as { stops: Shown[] }
  expect(stops.at(-1)).toEqual(last)
  expect(stops.filter(({ id }) => id.startsWith('old-'))).toHaveLength(200)
  // Those that hold are never among those that go.
  expect(stops.filter(({ state }) => state === 'stopped').length).toBeGreaterThanOrEqual(3)
})

test('whoever stops one tenant again and again takes no room from others, and everything can still be stopped', async () => {
  const at = Date.now()
  const of = (tenant: string, n: number, more: object = {}): object => ({
    ...{ id: `${tenant}-${n}`, scope: { kind: 'tenant', tenant }, by: 'demo-operator' },
    // As long as a reason may be, and in the longest way to store it.
    ...{ reason: '\u0001'.repeat(166), at_ms: at, recorded_at_ms: at, ...more },
  })
  const many = (count: number, tenant: string, more?: object): object[] =>
    Array.from({ length: count }, (_, n) => of(tenant, n, more))
  const lifted = many(200, 'old', { draining_at_ms: at, resumed_at_ms: at })
  await plant(() => [...lifted, ...many(50, 'acme')])
  const stop = (scope: object): Promise<Shown> => asked('stop', { scope, reason: '\u0001'.repeat(166) })
  expect(await stop({ kind: 'agent', tenant: 'acme', agent: 'x' })).toMatchObject({ status: 503 })
  expect(await stop({ kind: 'tenant', tenant: 'default' })).toMatchObject({ state: 'stopped' })
  const others = ['a', 'b', 'c', 'd'].flatMap((tenant) => many(50, tenant))
  await plant(() => [...lifted, ...many(50, 'acme'), ...others])
  expect(await stop({ kind: 'tenant', tenant: 'default' })).toMatchObject({ status: 503 })
  expect(await stop({ kind: 'all' })).toMatchObject({ state: 'stopped' })
  expect(await stop({ kind: 'topic', pattern: 'job.free.>' })).toMatchObject({ state: 'stopped' })
  const { stops } = (await asked('list', {})) as unknown as { stops: Shown[] }
  expect(stops).toHaveLength(452)
  const long = await asked('stop', { scope: { kind: 'all' }, reason: '\u0001'.repeat(167) })
  expect(long).toMatchObject({ status: 400, code: 'invalid' })
  await plant(() => [])
})

test('an order that names nobody is carried out, and says that it may have been meant otherwise', async () => {
  const of = (scope: object): Promise<Shown & { warning?: string }> =>
    asked('stop', { scope, reason: 'typo' })
  const unknown = await of({ kind: 'tenant', tenant: 'acmee' })
  expect(unknown).toMatchObject({ state: 'stopped', warning: expect.stringContaining('no tenant acmee') })
  const nobody = await of({ kind: 'agent', tenant: 'acme', agent: 'suport-bot' })
  expect(nobody.warning).toContain('no agent suport-bot of tenant acme')
  expect((await of({ kind: 'agent', tenant: 'acme', agent: 'support-bot' })).warning).toBeUndefined()
})

test.each([
  ['stop', { scope: { kind: 'everything' }, reason: 'x' }],
  ['stop', { scope: { kind: 'topic', pattern: 'job.>.x' }, reason: 'x' }],
  ['stop', { scope: { kind: 'all' } }],
  ['stop', { scope: { kind: 'all' }, reason: 'x', by: 'somebody else' }],
  ['resume', { id: 'nobody', stage: 'resumed', reason: 'x' }],
  ['resume', { id: 'nobody', stage: 'wholly', reason: 'x' }],
])('is told what is wrong in the words of HTTP: %s %j', async (verb, body) => {
  const answer = await asked(verb, body)
  expect(answer.status).toBeGreaterThanOrEqual(400)
  expect(answer).toEqual(await posted(verb, body))
})

test('nobody else gives orders, a publish that cannot be answered is none, and bytes that are no JSON neither', async () => {
  const before = await orders()
  const body = JSON.stringify({ scope: { kind: 'all' }, reason: 'x' })
  for (const user of ['demo', 'demo-approver', 'demo-auditor', 'helpdesk-1']) {
    const stranger = await nats.connect(user)
    stranger.publish('control.demo-operator.stop', body)
    stranger.publish(`control.${user}.stop`, body)
    await stranger.flush()
  }
  operator.publish('control.demo-operator.stop', body)
  const garbage = await operator.request('control.demo-operator.stop', new Uint8Array([0xff, 0x7b]))
  expect(garbage.json()).toMatchObject({ status: 400, code: 'invalid' })
  expect(await orders()).toEqual(before)
})
