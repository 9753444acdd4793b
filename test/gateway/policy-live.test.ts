import { readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { connectBus } from '../../gateway/bus/bus.ts'
import type { Config } from '../../gateway/config/config.ts'
import { openPolicyFile, type PolicyChange } from '../../gateway/policies/file.ts'
import { createPolicyStore } from '../../gateway/policies/store.ts'
import { loadPolicy } from '../../policy/load.ts'
import { sha256Hex } from '../../policy/digest.ts'
import { apiOf, type ApiCall } from '../helpers/api.ts'
import { readAudit, testConfig, until } from '../helpers/gateway.ts'
import { scratchFolder } from '../helpers/scratch.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'

let nats: TestNats
let config: Config
let gateways: Gateway[]
let apis: ApiCall[]
let first: string
const second = (text: string): string => text.replace('max_runtime_sec: 45', 'max_runtime_sec: 30')

beforeAll(async () => {
  nats = await startTestNats()
  first = await readFile('deploy/policy.yaml', 'utf8')
  config = await testConfig(nats, first)
  gateways = [await startGateway(config), await startGateway({ ...config, gateway: 'test-2' })]
  apis = gateways.map(({ httpUrl }) => apiOf(httpUrl))
})
afterAll(async () => {
  for (const gateway of gateways) await gateway.stop()
  await nats.stop()
})

function snapshotOf(text: string): string {
  const loaded = loadPolicy(text)
  if (!loaded.ok) throw new Error('the policy of the test does not load')
  return loaded.policy.snapshot
}

/** Waits until every gateway decides by the snapshot. */
async function allDecideBy(snapshot: string): Promise<void> {
  for (const api of apis)
    await until(
      async () => (await api('GET', '/api/v1/policy/snapshots')).body['policy_snapshot'] === snapshot,
    )
}

const events = async (type: string): Promise<Record<string, unknown>[]> =>
  (await readAudit(nats))
    .filter(({ record }) => record.type === type)
    .map(({ record }) => record.data as unknown as Record<string, unknown>)

const exec = { topic: 'job.agent.exec.x', risk_tags: ['medium'] }

test('a changed file is in force everywhere, and its text is kept under its snapshot', async () => {
  await writeFile(config.policyFile, second(first))
  await allDecideBy(snapshotOf(second(first)))
  for (const text of [first, second(first)]) {
    const kept = await apis[0]?.('GET', `/api/v1/policy/snapshots/${snapshotOf(text).slice(0, 12)}`)
    expect(sha256Hex(String(kept?.body['policy']))).toBe(sha256Hex(text))
  }
})

test('a file that does not load changes nothing, is on record, and shows as stale; reload reads the next one at once', async () => {
  const now = snapshotOf(second(first))
  await writeFile(config.policyFile, first.replace('decision: deny', 'decision: denny'))
  await until(async () => (await events('sluice.policy.rejected.v1')).length >= 2)
  const ready = await apis[0]?.('GET', '/readyz?verbose')
  expect(JSON.stringify(ready?.body)).toContain(`${now}; stale`)
  await writeFile(config.policyFile, second(first))
  for (const gateway of gateways) await gateway.reload()
  expect(JSON.stringify((await apis[0]?.('GET', '/readyz?verbose'))?.body)).not.toContain('stale')
})

test('a rollback holds on every gateway whatever the file says, survives a restart, and ends', async () => {
  const back = snapshotOf(first)
  const asked = await apis[0]?.('POST', '/api/v1/policy/rollback', {
    snapshot: back.slice(0, 10),
    reason: 'too tight',
  })
  expect(asked?.body).toEqual({ policy_snapshot: back, shadow_snapshot: null })
  await allDecideBy(back)
  await writeFile(config.policyFile, `# once more\n${second(first)}`)
  const job = await apis[1]?.('POST', '/api/v1/jobs', exec)
  expect(job?.body['decision']).toMatchObject({ policy_snapshot: back, constraints: { max_runtime_sec: 45 } })
  await gateways[1]?.stop()
  gateways[1] = await startGateway({ ...config, gateway: 'test-2' })
  apis[1] = apiOf(gateways[1].httpUrl)
  await allDecideBy(back)
  expect(await events('sluice.policy.rollback.v1')).toMatchObject([
    { policy_snapshot: back, by: 'demo-approver', reason: 'too tight' },
  ])
  await apis[1]('POST', '/api/v1/policy/rollback', { snapshot: null, reason: 'done' })
  await allDecideBy(snapshotOf(second(first)))
})

test.each([
  [{ snapshot: '0000000000', reason: 'x' }, 404],
  [{ snapshot: 'x', reason: 'x' }, 400],
  [{ snapshot: null }, 400],
])('a rollback to %j is refused and changes nothing', async (body, status) => {
  const before = (await events('sluice.policy.rollback.v1')).length
  expect((await apis[0]?.('POST', '/api/v1/policy/rollback', body))?.status).toBe(status)
  expect(await events('sluice.policy.rollback.v1')).toHaveLength(before)
})

test('a shadow candidate decides nothing, and where it would have is on record', async () => {
  const candidate = first.replace('risk_tags: ["destructive"]', 'risk_tags: ["medium"]')
  expect(
    (await apis[0]?.('POST', '/api/v1/policy/shadow', { policy: 'version: v2', reason: 'x' }))?.status,
  ).toBe(422)
  await apis[0]?.('POST', '/api/v1/policy/shadow', { policy: candidate, reason: 'try' })
  await until(
    async () =>
      (await apis[1]?.('GET', '/api/v1/policy/snapshots'))?.body['shadow_snapshot'] === snapshotOf(candidate),
  )
  const answers = await Promise.all(
    Array.from({ length: 30 }, async () => apis[0]?.('POST', '/api/v1/jobs', exec)),
  )
  for (const answer of answers)
    expect(answer?.body['decision']).toMatchObject({ type: 'ALLOW_WITH_CONSTRAINTS' })
  const found = await until(async () => {
    const told = await events('sluice.policy.shadow.v1')
    return told.length > 0 && told
  })
  expect(found.length).toBeLessThan(answers.length * 2)
  expect(found[0]).toMatchObject({
    topic: 'job.agent.exec.x',
    enforced: { type: 'ALLOW_WITH_CONSTRAINTS', rule_id: 'constrain-medium-risk' },
    shadow: { type: 'DENY', rule_id: 'deny-destructive', policy_snapshot: snapshotOf(candidate) },
  })
  expect(JSON.stringify((await apis[0]?.('GET', '/readyz?verbose'))?.body)).toMatch(
    /\d+ of \d+ decisions differ/,
  )
  await apis[0]?.('POST', '/api/v1/policy/shadow', { policy: null, reason: 'enough' })
  expect((await apis[0]?.('GET', '/api/v1/policy/snapshots'))?.body['shadow_snapshot']).toBeNull()
})

test('a policy larger than a message is kept in parts and comes back whole', async () => {
  // Digests, because everything else in reach packs too well.
  const lines = Array.from({ length: 20_000 }, (_, at) => `# ${sha256Hex(String(at))}`)
  const large = `${lines.join('\n')}\n${first.replace('max_runtime_sec: 45', 'max_runtime_sec: 20')}`
  await writeFile(config.policyFile, large)
  await allDecideBy(snapshotOf(large))
  const kept = await until(async () => {
    const { status, body } = (await apis[1]?.('GET', `/api/v1/policy/snapshots/${snapshotOf(large)}`)) ?? {
      status: 0,
    }
    return status === 200 && String(body?.['policy'])
  })
  expect(sha256Hex(kept)).toBe(sha256Hex(large))
})

test('a policy that cannot be kept does not come into force, and is tried again until it can', async () => {
  const folder = await scratchFolder()
  const path = join(folder.path, 'policy.yaml')
  await writeFile(path, first)
  const changes: PolicyChange[] = []
  let room = false
  const file = await openPolicyFile(
    path,
    () => (room ? Promise.resolve() : Promise.reject(new Error('the bucket takes nothing'))),
    (change) => changes.push(change),
    10,
  )
  await writeFile(path, second(first))
  await until(() => changes.length > 1)
  expect(file.current().text).toBe(first)
  expect(file.reloadOk()).toBe(false)
  expect(changes[0]).toEqual({
    type: 'refused',
    problems: [{ code: 'policy-not-kept', message: 'the bucket takes nothing' }],
  })
  room = true
  await until(() => file.reloadOk())
  expect(file.current().text).toBe(second(first))
  expect(changes.at(-1)).toMatchObject({ type: 'loaded' })
  file.stop()
  await folder.remove()
})

test('a policy file that is gone is told like one that does not load, and the last good policy stays', async () => {
  const refusedBefore = (await events('sluice.policy.rejected.v1')).length
  const { policy_snapshot: before } = (await apis[0]?.('GET', '/api/v1/policy/snapshots'))?.body ?? {}
  const text = await readFile(config.policyFile, 'utf8')
  await rm(config.policyFile)
  const told = await until(async () => {
    const refused = await events('sluice.policy.rejected.v1')
    return refused.length > refusedBefore ? refused.at(-1) : undefined
  })
  expect(told).toMatchObject({
    policy_snapshot: before,
    problems: [{ message: 'a file of the policy cannot be read: ENOENT' }],
  })
  expect((await apis[0]?.('GET', '/api/v1/policy/snapshots'))?.body['policy_snapshot']).toBe(before)
  await writeFile(config.policyFile, text)
  await until(
    async () => !JSON.stringify((await apis[0]?.('GET', '/readyz?verbose'))?.body).includes('stale'),
  )
})

test('a rollback to what does not load does not hold, and whoever looks is told', async () => {
  const bus = await connectBus({
    url: nats.url,
    name: 'beside',
    user: 'gateway',
    password: nats.passwords['gateway'],
    inboxPrefix: '_INBOX_gateway',
  })
  const store = createPolicyStore(bus)
  const { policy_snapshot: before } = (await apis[0]?.('GET', '/api/v1/policy/snapshots'))?.body ?? {}
  const of = 'f'.repeat(64)
  await store.keep(of, 'version: v0\n')
  const order = { by: 'demo-approver', reason: 'as an older gateway could', at: new Date().toISOString() }
  await store.point('active', { snapshot: of, ...order })
  const ready = async () => JSON.stringify((await apis[0]?.('GET', '/readyz?verbose'))?.body)
  await until(async () =>
    (await ready()).includes(`the rollback to ${of} cannot be loaded and does not hold`),
  )
  expect((await apis[0]?.('GET', '/api/v1/policy/snapshots'))?.body['policy_snapshot']).toBe(before)
  await store.point('active', { snapshot: null, ...order })
  await until(async () => !(await ready()).includes('does not hold'))
  await bus.close()
})

test('a policy of several files is followed in all of them, kept whole, and can be gone back to', async () => {
  const base = await readFile(config.policyFile, 'utf8')
  const overlay = join(dirname(config.policyFile), 'overlay.yaml')
  const asking = `version: v1
overlay: {tenants: [default]}
rules:
  - {id: ask-for-reads, match: {topics: ["job.mcp-bridge.read.*"]}, decision: require_approval}
`
  await writeFile(overlay, asking)
  const policyFile = `${config.policyFile},${overlay}`
  const gateway = await startGateway({ ...config, gateway: 'test-3', policyFile })
  const api = apiOf(gateway.httpUrl)
  const decided = async () =>
    (await api('POST', '/api/v1/policy/evaluate', { job: { topic: 'job.mcp-bridge.read.x' } })).body
  const asked = await decided()
  expect(asked).toMatchObject({ decision: { type: 'REQUIRE_APPROVAL', rule_id: 'ask-for-reads' } })
  const snapshot = String((await api('GET', '/api/v1/policy/snapshots')).body['policy_snapshot'])
  const kept = await api('GET', `/api/v1/policy/snapshots/${snapshot}`)
  expect(JSON.parse(String(kept.body['policy']))).toEqual([base, asking])
  await writeFile(overlay, asking.replace('require_approval', 'deny'))
  await until(async () => JSON.stringify(await decided()).includes('"DENY"'))
  const rolled = await api('POST', '/api/v1/policy/rollback', {
    snapshot,
    reason: 'to see that it goes back',
  })
  expect(rolled.status).toBe(200)
  expect(await decided()).toMatchObject({ decision: { rule_id: 'ask-for-reads' } })
  await allDecideBy(snapshot)
  await api('POST', '/api/v1/policy/rollback', { snapshot: null, reason: 'enough' })
  await gateway.stop()
})
