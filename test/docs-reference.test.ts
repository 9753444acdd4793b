import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { eventTypes, isTerminal, states } from '../audit/lifecycle.ts'
import { settingKeys } from '../gateway/config/settings.ts'
import { openReader, type Reader } from './helpers/reader.ts'

const records = readFileSync('docs/records.md', 'utf8')
const operations = readFileSync('docs/operations.md', 'utf8')
const gateway = readdirSync('gateway', { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => readFileSync(join('gateway', file), 'utf8'))
  .join('\n')
let reader: Reader

beforeAll(async () => {
  reader = await openReader()
}, 120_000)
afterAll(() => reader.stop())

describe('the reference', () => {
  test('every field of every record that the drill makes stands in docs/records.md', async () => {
    const credential = reader.ready.credentials.find(({ role }) => role === 'auditor')
    if (credential === undefined) expect.fail('no auditor')
    const { user, password, inbox_prefix: inboxPrefix } = credential
    const auditor = await connect({ servers: reader.ready.nats_url, user, pass: password, inboxPrefix })
    await reader.bash('npm run drill')
    const last = await lastSequence(auditor)
    const undocumented = new Set<string>()
    let seen = 0
    for (let seq = 1; seq <= last; seq++) {
      const record = (await auditor.request('gov.API.DIRECT.GET.AUDIT', JSON.stringify({ seq }))).json<
        Record<string, unknown>
      >()
      if (!('id' in record)) continue
      seen++
      for (const field of fieldsOf(record)) if (!documented(records, field)) undocumented.add(field)
    }
    await auditor.close()
    expect(seen).toBeGreaterThan(20)
    expect([...undocumented]).toEqual([])
  })

  test('every type of record stands in docs/records.md, with its event', () => {
    for (const [event, type] of Object.entries(eventTypes))
      expect(records).toMatch(
        new RegExp(`^\\| .*\`${type.replaceAll('.', '\\.')}\`.*\\| .*\`${event}\``, 'm'),
      )
  })

  test('every type that stands in the gateway stands in docs/records.md', () => {
    const types = new Set(gateway.match(/\bsluice\.[a-z_.]+\.v1\b/g) ?? [])
    expect(types.size).toBeGreaterThan(5)
    expect([...types].filter((type) => !records.includes(`\`${type}\``))).toEqual([])
  })

  test('every header of ours stands in docs/records.md, and no other', () => {
    const named = (text: string): Set<string> => new Set(text.match(/Sluice-[A-Z][A-Za-z-]*[a-z]/g) ?? [])
    const inCode = named(gateway)
    // The gateway's own marks on what it stores for HTTP callers; nobody outside ever sees it.
    inCode.delete('Sluice-Message-Id')
    inCode.delete('Sluice-Request-Id')
    inCode.delete('Sluice-Principal')
    // A stored policy too long for one message, likewise.
    inCode.delete('Sluice-Parts')
    expect([...named(records)].toSorted()).toEqual([...inCode].toSorted())
  })

  test('every metric that docs/operations.md names is there', async () => {
    const metrics = await reader.bash('curl -sS http://localhost:8081/metrics')
    const named = new Set(operations.match(/sluice_[a-z_]+/g) ?? [])
    expect([...named].filter((name) => !metrics.includes(`# TYPE ${name} `))).toEqual([])
  })

  test('every setting that docs/operations.md names is one', () => {
    const named = [...operations.matchAll(/`((?:limits\.)?[a-z]+(?:_[a-z]+)+)`/g)].map(
      ([, name = '']) => name,
    )
    const known: readonly string[] = settingKeys
    const others = named.filter((name) => !known.includes(name) && !name.startsWith('sluice_'))
    expect(others).toEqual(
      ['fatal_findings', 'max_retries', 'expires_in'].filter((name) => others.includes(name)),
    )
  })

  test('every state stands in docs/records.md, as open or as an end', () => {
    const row = records.split('\n').find((line) => line.startsWith('| `data.state`')) ?? ''
    const [open = '', ends = ''] = row.split(' are open; ')
    for (const state of states) expect(isTerminal(state) ? ends : open).toMatch(new RegExp(`\\b${state}\\b`))
  })
})

async function lastSequence(auditor: NatsConnection): Promise<number> {
  const info = (await auditor.request('gov.API.STREAM.INFO.AUDIT')).json<{ state: { last_seq: number } }>()
  return info.state.last_seq
}

/** `data.dispatch.pool`, ...; what stands in a list or under a key that an agent or a policy chose is one field. */
function fieldsOf(value: object, path = ''): string[] {
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
    const field = path === '' ? key : `${path}.${key}`
    const open = [
      'data.input.labels',
      'data.decision.constraints',
      'data.input.truths',
      'data.approval.demands',
      'data.approval.votes',
    ]
    if (open.includes(field) || typeof inner !== 'object' || inner === null) return [field]
    if (Array.isArray(inner))
      return [
        field,
        ...inner.flatMap((one: unknown) =>
          typeof one === 'object' && one !== null ? fieldsOf(one, field) : [],
        ),
      ]
    return field === 'data' ? fieldsOf(inner, field) : [field, ...fieldsOf(inner, field)]
  })
}

/** A field has a row of its own, or its name stands in the row of what it is a part of. */
function documented(page: string, field: string): boolean {
  const parts = field.split('.')
  const row = parts.slice(0, parts[0] === 'data' ? 2 : 1).join('.')
  const text = page.split('\n').find((line) => line.startsWith('| `') && line.includes(`\`${row}\``))
  return text !== undefined && parts.slice(2).every((part) => text.includes(`\`${part}\``))
}
