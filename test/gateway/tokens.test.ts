import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createLog } from '../../gateway/log.ts'
import { isToken, newToken, tokenHash } from '../../gateway/http/token.ts'
import { expiryMs, parseTokens } from '../../gateway/http/tokens-file.ts'
import { openTokens } from '../../gateway/http/tokens.ts'
import { until } from '../helpers/gateway.ts'
import { tokenBook } from '../helpers/tokens.ts'
import { demoTopology } from '../helpers/topology.ts'

const topology = await demoTopology()
const hash = tokenHash('a')

describe('a token', () => {
  test('is never made twice and is whole as it was made', () => {
    const made = new Set(Array.from({ length: 1_000 }, newToken))
    expect(made.size).toBe(1_000)
    for (const token of made) expect([token.length, isToken(token)]).toEqual([53, true])
  })

  test('with any one character changed, taken away, added or in another case is none', () => {
    const token = newToken()
    for (let at = 0; at < token.length; at++) {
      const [before, letter = '', after] = [token.slice(0, at), token[at], token.slice(at + 1)]
      const other = letter === 'A' ? 'B' : 'A'
      for (const changed of [before + other + after, before + after, `${before}${letter}${letter}${after}`])
        expect([changed, isToken(changed)]).toEqual([changed, false])
    }
    for (const changed of [token.toUpperCase(), token.toLowerCase(), ` ${token}`, `${token}\n`, ''])
      expect(isToken(changed)).toBe(false)
  })
})

describe('a tokens file says where it is wrong and what is meant', () => {
  const entry = (more: string): string => `tokens:\n  - { principal: p, sha256: ${hash}, ${more} }\n`
  test.each([
    ['an unknown key', 'tokenz: []\n', /^t\.yaml:1:1: unknown key "tokenz"; did you mean "tokens"/],
    ['an unknown role', entry('roles: [viever], tenants: all'), /:2:\d+: "viever" is not one of .* "viewer"/],
    ['no role', entry('roles: [], tenants: all'), /roles/],
    ['a misspelt key', entry('roles: [viewer], tenant: all'), /unknown key "tenant"; did you mean "tenants"/],
    ['no tenants', entry('roles: [viewer]'), /"tenants" is missing/],
    ['another word than all', entry('roles: [viewer], tenants: any'), /:2:\d+: .*all or a list/],
    ['a tenant that nobody has', entry('roles: [viewer], tenants: [acmee]'), /not a tenant of the topology/],
    ['an expiry that is no time', entry('roles: [viewer], tenants: all, expires: soon'), /must be a date/],
    [
      'a day that does not exist',
      entry('roles: [viewer], tenants: all, expires: 2030-02-30'),
      /must be a date/,
    ],
    ['an agent of nobody', entry('roles: [agent], tenants: [default]'), /agent needs "agent"/],
    [
      'an agent of two tenants',
      entry('roles: [agent], tenants: [default, acme], agent: demo'),
      /exactly one/,
    ],
    ['an agent of all tenants', entry('roles: [agent], tenants: all, agent: demo'), /exactly one/],
    [
      'an agent of another tenant',
      entry('roles: [agent], tenants: [acme], agent: demo'),
      /not an agent of tenant acme/,
    ],
    [
      'an agent that approves',
      entry('roles: [agent, approver], tenants: [default], agent: demo'),
      /stands alone/,
    ],
    [
      'a viewer with an agent',
      entry('roles: [viewer], tenants: all, agent: demo'),
      /only for the role agent/,
    ],
    [
      'an approver nobody knows',
      entry('roles: [approver], tenants: all'),
      /must be an approver of the topology/,
    ],
    [
      'an approver who submits',
      entry('roles: [agent], tenants: [default], agent: demo').replace(': p,', ': demo-approver,'),
      /must not submit/,
    ],
    [
      'a token twice',
      `${entry('roles: [viewer], tenants: all')}  - { principal: q, sha256: ${hash}, roles: [viewer], tenants: all }\n`,
      /:3:\d+: .*already the one of entry 1/,
    ],
    ['a list without its key', '- { principal: p }\n', /./],
    ['no YAML', 'tokens: [', /./],
  ])('%s', (_, text, words) => {
    const parsed = parseTokens('t.yaml', text, topology)
    expect(parsed.ok).toBe(false)
    if (!parsed.ok)
      expect(
        parsed.problems.map(({ line, column, message }) => `t.yaml:${line}:${column}: ${message}`).join('\n'),
      ).toMatch(words)
  })

  test('an approver of some tenants gets a token for no others', () => {
    const limited = { ...topology, approverTenants: new Map([['demo-approver', ['acme']]]) }
    const reaching = (tenants: string) =>
      parseTokens(
        't.yaml',
        entry(`roles: [approver], tenants: ${tenants}`).replace(': p,', ': demo-approver,'),
        limited,
      )
    expect(reaching('[acme]').ok).toBe(true)
    for (const tenants of ['all', '[acme, default]'])
      expect(JSON.stringify(reaching(tenants))).toContain('the topology gives this approver no others')
  })

  test('no problem quotes a token or a hash, wherever somebody put it', () => {
    const token = newToken()
    for (const secret of [token, token.slice(4), hash, hash.toUpperCase()])
      for (const text of [
        `tokens:\n  - { principal: p, sha256: "${secret}x", roles: [viewer], tenants: all }\n`,
        `tokens:\n  - { principal: p, sha256: ${hash}, roles: [${secret}], tenants: all }\n`,
        `tokens:\n  - { principal: "${secret}", sha256: ${hash}, roles: [viewer], tenants: all }\n`,
        `tokens:\n  - { principal: p, sha256: ${hash}, roles: [viewer], tenants: [${secret}] }\n`,
        `tokens:\n  - { principal: p, ${secret}: ${hash}, roles: [viewer], tenants: all }\n`,
      ]) {
        const parsed = parseTokens('t.yaml', text, topology)
        expect(parsed.ok).toBe(false)
        expect(JSON.stringify(parsed)).not.toContain(secret)
      }
  })

  test('a date is its first moment and a time is itself', () => {
    expect(expiryMs('2030-01-31')).toBe(Date.UTC(2030, 0, 31))
    expect(expiryMs('2030-01-31T02:00:00+02:00')).toBe(Date.UTC(2030, 0, 31))
    expect(expiryMs('2030-1-31')).toBeUndefined()
  })
})

describe('the file is followed', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sluice-tokens-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  test('what is added counts, what is taken out does not, and what does not load changes nothing', async () => {
    const file = join(folder, 'tokens.yaml')
    const book = tokenBook(file)
    const stays = book.add({ principal: 'stays', roles: ['viewer'], tenants: 'all' })
    const goes = book.add({ principal: 'goes', roles: ['viewer'], tenants: 'all', expires: '2100-01-01' })
    await book.write()
    const tokens = await openTokens(file, topology, createLog('silent', 'test'))
    const types = (atMs = Date.now()) => [stays, goes].map((token) => tokens.find(token, atMs).type)
    expect(types()).toEqual(['known', 'known'])
    expect(types(Date.UTC(2100, 0, 1) - 1)).toEqual(['known', 'known'])
    expect(types(Date.UTC(2100, 0, 1))).toEqual(['known', 'expired'])
    book.remove(goes)
    await book.write()
    await until(() => tokens.find(goes, 0).type === 'unknown')
    await writeFile(file, 'tokens: [ {')
    await until(() => tokens.detail() === '1 known; stale: the newest file does not load')
    await rm(file)
    await tokens.reload()
    expect(types()).toEqual(['known', 'unknown'])
    await writeFile(file, 'tokens: []\n')
    await until(() => tokens.detail() === '0 known')
    expect(types()).toEqual(['unknown', 'unknown'])
    tokens.stop()
  })

  test('a gateway does not begin with a file that does not load', async () => {
    const file = join(folder, 'bad.yaml')
    await writeFile(file, 'tokens: [ {')
    await expect(openTokens(file, topology, createLog('silent', 'test'))).rejects.toThrow(/bad\.yaml:1:\d+/)
    await expect(
      openTokens(join(folder, 'none.yaml'), topology, createLog('silent', 'test')),
    ).rejects.toThrow()
  })
})
