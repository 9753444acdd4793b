import { readFile } from 'node:fs/promises'

import { describe, expect, test } from 'vitest'

import { parseTopology, placedAgents, poolFor } from '../../gateway/config/topology.ts'
import { demoTopology } from '../helpers/topology.ts'

const text = `tenants:
  - name: one
    agents:
      - { name: alone, account: ONE, user: alone }
  - name: two
    agents:
      - { name: first, account: TWO, user: two-first }
      - { name: second, account: TWO, user: two-second }
pools:
  - { name: fast, account: FAST, delivery: core, topics: ['job.fast.>', 'job.*.quick'], workers: [f1] }
  - { name: rest, account: REST, delivery: pull, topics: ['job.slow.>'], workers: [r1, r2] }
approvers: [ann]
auditors: [carl]
`

const problemsOf = (changed: string): string[] => {
  const result = parseTopology('t.yaml', changed)
  return result.ok ? [] : result.problems.map(({ line, column, message }) => `${line}:${column} ${message}`)
}

describe('the topology', () => {
  test('knows which agents have an account to themselves', () => {
    const result = parseTopology('t.yaml', text)
    expect(
      result.ok && placedAgents(result.value).map(({ tenant, name, alone }) => [tenant, name, alone]),
    ).toEqual([
      ['one', 'alone', true],
      ['two', 'first', false],
      ['two', 'second', false],
    ])
  })

  test.each([
    ['job.fast.a', 'fast'],
    ['job.fast.a.b', 'fast'],
    ['job.slow.quick', 'fast'],
    ['job.slow.other', 'rest'],
    ['job.fast', undefined],
    ['job.other.topic', undefined],
  ])('gives %s to the first pool that claims it: %s', (topic, pool) => {
    const result = parseTopology('t.yaml', text)
    expect(result.ok && poolFor(result.value, topic)?.name).toBe(pool)
  })

  test('of the demo sends commands to the pull pool and all else to the helpdesk', async () => {
    const topology = await demoTopology()
    expect(poolFor(topology, 'job.agent.exec.run')?.name).toBe('exec')
    expect(poolFor(topology, 'job.mcp-bridge.read.get_ticket')?.name).toBe('helpdesk')
  })

  test.each([
    ['a key nobody knows', text.replace('approvers:', 'aprovers:'), /did you mean "approvers"/],
    ['a name that is no token', text.replace('name: one', 'name: One.1'), /^2:11 .*tenants\[0\]\.name/],
    ['a tenant twice', text.replace('name: two', 'name: one'), /^5:11 .*already a tenant/],
    ['a user twice', text.replace('two-second', 'alone'), /already the user of agent one\/alone/],
    ['an account of two tenants', text.replace('ONE', 'TWO'), /already belongs to tenant one/],
    ['a pool in an agent account', text.replace('FAST', 'ONE'), /already tenant one/],
    ['the account of the gateway', text.replace('ONE', 'GOV'), /already belongs to the gateway/],
    ['a worker that is an approver', text.replace('[ann]', '[f1]'), /already a worker of fast/],
    [
      'a pool with the name of the consumer of the gateway',
      text.replace('name: fast', 'name: gw'),
      /name of the gateway/,
    ],
    [
      'an approver of no tenant',
      text.replace('[ann]', '[{ name: ann, tenants: [nobody] }]'),
      /'nobody' is not a tenant/,
    ],
    ['an approver of nothing', text.replace('[ann]', '[{ name: ann, tenants: [] }]'), /approvers\[0\]/],
    ['a topic that is no pattern', text.replace('job.slow.>', 'job.>.slow'), /last token/],
    ['a delivery of both kinds', text.replace('delivery: core', 'delivery: both'), /core, pull/],
  ])('does not load with %s', (_, changed, message) => {
    expect(problemsOf(changed).join('\n')).toMatch(message)
  })

  test('of the demo and nats.conf name the same users and accounts', async () => {
    const conf = await readFile('nats.conf', 'utf8')
    const topology = await demoTopology()
    const agents = placedAgents(topology)
    const users = [...agents.map(({ user }) => user), ...topology.pools.flatMap(({ workers }) => workers)]
    const people = [...topology.approvers, ...topology.auditors, ...topology.operators]
    const inConf = [...conf.matchAll(/^ {6}\{ user: ([a-z0-9-]+),/gm)].map(([, user = '']) => user)
    expect(inConf.toSorted()).toEqual(['gateway', ...users, ...people].toSorted())
    const accounts = new Set([
      ...agents.map(({ account }) => account),
      ...topology.pools.map(({ account }) => account),
    ])
    const accountsInConf = [...conf.matchAll(/^ {2}([A-Z_]+) \{/gm)].map(([, account = '']) => account)
    expect(accountsInConf.toSorted()).toEqual(['SYS', 'GOV', 'OPS', ...accounts].toSorted())
  })
})
