import { afterEach, describe, expect, test } from 'vitest'

import { provision, type ApiRequest } from '../../gateway/nats/provision.ts'
import { planStreams } from '../../gateway/nats/streams.ts'
import { asOwner, startTestNats, testLimits, type TestNats } from '../helpers/nats-server.ts'
import { demoTopology } from '../helpers/topology.ts'

const plan = planStreams(await demoTopology(), testLimits)

describe('provision', () => {
  let nats: TestNats
  afterEach(() => nats.stop())

  /** A server whose owner is still there, which a running system never has. */
  const ownedServer = async (): Promise<ApiRequest> => {
    nats = await startTestNats({ owner: 'stays' })
    return asOwner(nats)
  }

  test('makes every stream and consumer of the plan, and finds nothing to do the second time', async () => {
    const request = await ownedServer()
    const again = await provision(request, plan, 'apply')
    expect(again.map(({ name }) => name)).toEqual([
      ...plan.streams.map(({ name }) => name),
      ...plan.consumers.map(({ stream, config }) => `${stream}/${config.durable_name}`),
    ])
    expect(again.filter(({ outcome }) => outcome !== 'unchanged')).toEqual([])
  })

  test('reports what was made, on a server that has nothing', async () => {
    nats = await startTestNats({ owner: 'stays', provisioned: false })
    const request = await asOwner(nats)
    const looked = await provision(request, plan, 'check')
    expect(new Set(looked.map(({ outcome }) => outcome))).toEqual(new Set(['drifted']))
    const made = await provision(request, plan, 'apply')
    expect(new Set(made.map(({ outcome }) => outcome))).toEqual(new Set(['created']))
  })

  test('changes a bound that the plan changed, and says which', async () => {
    const request = await ownedServer()
    const tighter = planStreams(nats.topology, { ...testLimits, approvalsPendingMax: 7 })
    const looked = await provision(request, tighter, 'check')
    expect(looked.filter(({ outcome }) => outcome !== 'unchanged')).toEqual([
      {
        kind: 'stream',
        name: 'APPROVALS',
        outcome: 'drifted',
        differences: [`max_msgs is ${testLimits.approvalsPendingMax}, planned is 7`],
      },
    ])
    const changed = await provision(request, tighter, 'apply')
    expect(changed.find(({ name }) => name === 'APPROVALS')?.outcome).toBe('updated')
    const info = await request('$JS.API.STREAM.INFO.APPROVALS')
    expect(info['config']).toMatchObject({ max_msgs: 7 })
  })

  test('puts back what somebody changed by hand', async () => {
    const request = await ownedServer()
    const work = plan.streams.find(({ name }) => name === 'WORK')
    await request('$JS.API.STREAM.UPDATE.WORK', { ...work, max_age: 3600_000_000_000 })
    const repaired = await provision(request, plan, 'apply')
    expect(
      repaired.filter(({ outcome }) => outcome !== 'unchanged').map(({ name, outcome }) => [name, outcome]),
    ).toEqual([['WORK', 'updated']])
  })

  test('never lowers a bound below what a stream holds, not even AUDIT that may not be purged', async () => {
    const request = await ownedServer()
    const gateway = await nats.connect('gateway')
    for (let n = 0; n < 50; n++) await gateway.request('audit.default.x', 'y'.repeat(1000))
    const small = planStreams(nats.topology, { ...testLimits, auditBytesMax: 10_000 })
    const report = (await provision(request, small, 'apply')).find(({ name }) => name === 'AUDIT')
    expect(report?.outcome).toBe('drifted')
    expect(report?.differences.join()).toContain('would delete')
    const info = await request('$JS.API.STREAM.INFO.AUDIT')
    expect(info['state']).toMatchObject({ messages: 50 })
  })

  test('says in the words of the server what it refuses to change in place', async () => {
    const request = await ownedServer()
    const other = {
      ...plan,
      streams: plan.streams.map((stream) =>
        stream.name === 'COMMANDS' ? { ...stream, retention: 'limits' as const } : stream,
      ),
    }
    const report = (await provision(request, other, 'apply')).find(({ name }) => name === 'COMMANDS')
    expect(report?.outcome).toBe('drifted')
    expect(report?.differences.join()).toMatch(/not changed: .*retention/)
  })
})
