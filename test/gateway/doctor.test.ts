import { readFile } from 'node:fs/promises'

import { describe, expect, test } from 'vitest'

import { confDrift } from '../../gateway/nats/conf-drift.ts'
import { confFindings, everybodyLimited } from '../../gateway/nats/doctor-conf.ts'
import { serverFindings, type Finding, type ServerFacts } from '../../gateway/nats/doctor-server.ts'
import { hasFix } from '../../gateway/nats/server-version.ts'
import { readNatsConf } from '../../gateway/nats/conf-read.ts'

const good = await readFile('nats.conf', 'utf8')

function parsed(text: string) {
  const read = readNatsConf(text)
  if (!read.ok) throw new Error(`${read.line}: ${read.message}`)
  return read.value
}
const ids = (findings: readonly Finding[]): string[] =>
  findings.map(({ id, severity }) => `${severity} ${id}`)

describe('the configuration of a server', () => {
  test('is read in each of the ways in which it may be written', () => {
    const text = `
      # a comment, // and another
      listen: 127.0.0.1:4222 // after a value
      a = 1, b true; c: "x # no comment"
      list: [ one, 'two', { three:3 } ]
      map { key:"value", inner:{ url: nats://host:1 } }
      password: $2a$11$abc.def/ghi`
    expect(parsed(text)).toEqual({
      listen: '127.0.0.1:4222',
      a: 1,
      b: true,
      c: 'x # no comment',
      list: ['one', 'two', { three: 3 }],
      map: { key: 'value', inner: { url: 'nats://host:1' } },
      password: '$2a$11$abc.def/ghi',
    })
  })

  test.each([
    ['a map that never ends', 'accounts {\n  A {', 2],
    ['a list that never ends', 'a: [ 1,\n 2', 2],
    ['a quote that never ends', 'a: 1\nb: "x', 2],
    ['another file, which would be believed unseen', 'a: 1\ninclude "other.conf"', 2],
    ['a mark where a name should stand', '\n] a: 1', 2],
  ])('is not half understood: %s', (_, text, line) => {
    expect(readNatsConf(text)).toMatchObject({ ok: false, line })
  })
})

describe('the layout of nats.conf', () => {
  test('has nothing that the doctor objects to but when the disk is written', () => {
    expect(ids(confFindings(parsed(good), '2.15.1'))).toEqual(['note sync-interval'])
    expect(everybodyLimited(parsed(good))).toBe(true)
    expect(confDrift(parsed(good), parsed(good))).toEqual([])
    expect(
      confFindings(
        parsed(good.replace('jetstream: enabled', 'jetstream { sync_interval: always }')),
        '2.15.1',
      ),
    ).toEqual([])
  })

  const demo = '{ user: demo, password: $SLUICE_DEMO_PASSWORD, permissions: {'
  const inDemo = 'publish: { allow: [ "job.>" ] }'
  test.each([
    [
      'a second user beside the gateway',
      good.replace(
        '      # {{owner}}',
        '{ user: x, password: $X, permissions: { publish: "a" } }\n# {{owner}}',
      ),
      'fatal single-account',
    ],
    [
      'no accounts at all',
      'authorization { users: [ { user: gateway, password: $X, permissions: { publish: "a" } } ] }',
      'fatal single-account',
    ],
    ['nobody who has to log in', 'listen: 127.0.0.1:4222', 'fatal single-account'],
    [
      'a user for those who have none',
      good.replace('accounts {', 'no_auth_user: demo\naccounts {'),
      'fatal no-auth-user',
    ],
    [
      'a user without limits',
      good.replace(demo, '{ user: free, password: $X }\n' + demo),
      'fatal unlimited-publish:free',
    ],
    [
      'a user who is only denied something',
      good.replace(inDemo, 'publish: { deny: "worker.>" }'),
      'fatal unlimited-publish:demo',
    ],
    [
      'somebody who may publish everything',
      good.replace(inDemo, 'publish: ">"'),
      'fatal worker-publish:demo',
    ],
    [
      'somebody who may publish to one pool',
      good.replace(inDemo, 'publish: [ "job.>", "worker.helpdesk.*" ]'),
      'fatal worker-publish:demo',
    ],
    [
      'a wildcard in place of worker',
      good.replace(inDemo, 'publish: { allow: [ "*.helpdesk.>" ] }'),
      'fatal worker-publish:demo',
    ],
    [
      'somebody who may create consumers',
      good.replace(inDemo, 'publish: [ "$JS.API.CONSUMER.>" ]'),
      'fatal consumer-create:demo',
    ],
    [
      'somebody who may change streams',
      good.replace(inDemo, 'publish: [ "$JS.API.STREAM.UPDATE.AUDIT" ]'),
      'fatal stream-update:demo',
    ],
    [
      'a service that publishes on worker.>',
      good.replace('exports: [', 'exports: [ { service: "worker.x.>", accounts: [DEMO] }'),
      'fatal worker-publish-service:GOV',
    ],
    ['the owner of the streams', good.replace('#   { user: owner', '{ user: owner'), 'warning owner-present'],
    [
      'a password',
      good.replace('$SLUICE_DEMO_PASSWORD', ['pass', 'word'].join('')),
      'warning plain-password:demo',
    ],
  ])('is found to have %s', (_, text, expected) => {
    expect(text).not.toBe(good)
    expect(ids(confFindings(parsed(text), '2.15.1'))).toContain(expected)
  })

  test('has a deny-list that an older server does not apply to queue groups', () => {
    const text = good.replace(
      'subscribe: { allow: [ "_INBOX.>"',
      'subscribe: { deny: [ "a" ], allow: [ "_INBOX.>"',
    )
    expect(ids(confFindings(parsed(text), '2.11.15'))).toContain('warning subscribe-deny:demo')
    expect(ids(confFindings(parsed(text), '2.15.1'))).not.toContain('warning subscribe-deny:demo')
  })

  test.each([
    ['leaf nodes', 'leafnodes { port: 7422 }', 'warning side-door:leafnodes'],
    [
      'leaf nodes in the account of the gateway',
      'leafnodes { remotes: [ { url: "nats://x", account: GOV } ] }',
      'fatal side-door:leafnodes',
    ],
    [
      'leaf nodes with users of it',
      'leafnodes { authorization { account: "GOV" } }',
      'fatal side-door:leafnodes',
    ],
    ['web sockets for everybody', 'websocket { port: 1, no_auth_user: demo }', 'fatal side-door:websocket'],
    ['another protocol', 'mqtt { port: 1883 }', 'warning side-door:mqtt'],
    ['other clusters', 'gateway { name: a }', 'warning side-door:gateway'],
  ])('has other doors: %s', (_, text, expected) => {
    expect(ids(confFindings(parsed(`${text}\n${good}`), '2.15.1'))).toContain(expected)
  })

  const lines = [...good.matchAll(/^ +(\{ (?:service|stream): .*\})$/gm)].map(([, line = '']) => line)

  test('has every export and import among those that are changed below', () => {
    expect(lines.length).toBe((good.match(/^ +\{ (?:service|stream):/gm) ?? []).length)
  })

  test.each(lines)('is known when this is wider, given to more, or gone: %s', (line) => {
    const [subject = ''] = /"[^"]+"/.exec(line) ?? []
    const tokens = subject.slice(1, -1).split('.')
    const grown = tokens.at(-1) === '>' ? [...tokens.slice(0, -2), '>'] : [...tokens.slice(0, -1), '*']
    const changed = [
      line.replace(subject, `"${grown.join('.')}"`),
      line.replace(/, accounts: \[\w+\]/, ''),
      line.replace(/, to: "[^"]+"/, ''),
      `${line}\n${line.replace(subject, '"worker.>"')}`,
      '',
    ].filter((one) => one !== line)
    expect(changed.length).toBeGreaterThanOrEqual(3)
    for (const one of changed)
      expect(confDrift(parsed(good.replace(line, one)), parsed(good))).toHaveLength(1)
  })

  test.each([
    ['a subject that stands for another', 'mappings { "result.exec-1.>": "result.exec-2.>" }'],
    ['permissions for whoever has none', 'default_permissions { publish: ">" }'],
    ['streams of its own', 'jetstream: enabled'],
  ])('is known when an account has %s', (_, text) => {
    const more = good.replace('POOL_EXEC {', `POOL_EXEC {\n${text}`)
    expect(ids(confDrift(parsed(more), parsed(good)))).toEqual(['warning conf-drift:POOL_EXEC'])
  })

  test('is compared with what the topology asks for, account by account', () => {
    const wider = good
      .replace('"job.support-bot.>"', '"job.>"')
      .replace('{ service: { account: GOV, subject: "hb.exec.>" }, to: "hb.>" }', '')
    expect(ids(confDrift(parsed(wider), parsed(good)))).toEqual([
      'warning conf-drift:ACME',
      'warning conf-drift:POOL_EXEC',
    ])
  })
})

describe('the server', () => {
  const facts: ServerFacts = { version: '2.15.1', streams: [], configs: new Map(), skewMs: 3 }
  const replicated = new Map([['AUDIT', { num_replicas: 3 }]])

  test.each([
    ['2.9.10', true, ['warning CVE-2025-30215', 'note CVE-2026-33223', 'warning full-stream-forgets']],
    ['2.9.10', false, ['fatal CVE-2025-30215', 'note CVE-2026-33223', 'warning full-stream-forgets']],
    [
      '2.9.9',
      true,
      [
        'fatal server-too-old',
        'warning CVE-2025-30215',
        'note CVE-2026-33223',
        'warning full-stream-forgets',
      ],
    ],
    ['2.10.26', false, ['fatal CVE-2025-30215', 'note CVE-2026-33223']],
    ['2.10.27', false, ['note CVE-2026-33223']],
    ['2.11.0', false, ['fatal CVE-2025-30215', 'note CVE-2026-33223']],
    ['2.11.15', false, []],
    ['2.12.5', false, ['note CVE-2026-33223']],
    ['2.12.6', false, []],
    ['2.15.1', false, []],
  ])('%s (limits shown: %s) has %j', (version, limited, expected) => {
    expect(ids(serverFindings({ ...facts, version }, limited))).toEqual(expected)
  })

  test.each([
    ['2.9.20', true],
    ['2.9.21', false],
    ['2.10.26', true],
    ['2.10.27', false],
    ['2.15.1', false],
  ])('%s with replicated streams may have two winners: %s', (version, broken) => {
    const found = ids(serverFindings({ ...facts, version, configs: replicated }, true))
    expect(found.includes('fatal replicated-compare-and-set')).toBe(broken)
    expect(ids(serverFindings({ ...facts, version }, true))).not.toContain('fatal replicated-compare-and-set')
  })

  test('has a fix in its own line, or because it is newer than all that got it', () => {
    expect(
      hasFix('2.13.0', [
        [2, 11, 15],
        [2, 12, 6],
      ]),
    ).toBe(true)
    expect(
      hasFix('2.10.99', [
        [2, 11, 15],
        [2, 12, 6],
      ]),
    ).toBe(false)
    expect(hasFix('3.0.0', [[2, 12, 6]])).toBe(true)
    expect(hasFix('2.12.6-beta.1', [[2, 12, 6]])).toBe(true)
    expect(hasFix('', [[2, 12, 6]])).toBe(false)
  })

  test('has a stream from which a header can remove something, which a bucket may have', () => {
    const loose = { allow_rollup_hdrs: true }
    const configs = new Map<string, Record<string, boolean>>([
      ['AUDIT', loose],
      ['WORK', { allow_msg_ttl: true }],
      ['KV_gov_policy', loose],
    ])
    expect(ids(serverFindings({ ...facts, configs }, true))).toEqual([
      'fatal stream-header:AUDIT:allow_rollup_hdrs',
      'warning stream-header:WORK:allow_msg_ttl',
    ])
  })

  test.each([
    [1_999, []],
    [-2_000, ['warning clock-skew']],
    [30_000, ['fatal clock-skew']],
    [undefined, ['note clock-unknown']],
  ])('whose clock differs by %s ms has %j', (skewMs, expected) => {
    expect(ids(serverFindings({ ...facts, skewMs }, true))).toEqual(expected)
  })
})
