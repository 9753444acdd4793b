import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { newPasswords } from '../../cli/dev/nats-conf.ts'
import { startNatsProcess } from '../../cli/dev/nats-process.ts'
import { actsOf } from '../../cli/nats-acts.ts'
import { attempt, type Proof } from '../../cli/nats-attempt.ts'
import { everybody } from '../helpers/roles.ts'
import { startTestNats } from '../helpers/nats-server.ts'
import { demoTopology } from '../helpers/topology.ts'

const topology = await demoTopology()
const conf = await readFile('nats.conf', 'utf8')
const passwords = newPasswords(topology)

/** One permission of nats.conf changed: which, and where its text stands. */
type Mutant = { user: string; list: string; from: string; to: string; at: number }

const mutants = mutantsOf(conf)
const users = [...new Set(mutants.map(({ user }) => user))]

describe('sluice nats verify catches nats.conf', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sluice-mutants-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  /** The permissions of these users, tried on a server with this configuration. */
  const permissionsOn = async (text: string, of: readonly string[], round: number): Promise<Proof[]> => {
    const binary = process.env['SLUICE_TEST_NATS_BINARY'] ?? ''
    const storeDir = join(folder, String(round))
    const server = await startNatsProcess({ binary, conf: text, passwords, storeDir, port: -1 })
    try {
      const acts = actsOf(everybody(topology, passwords)).filter(
        ({ type, credential: { user } }) => (type === 'publish' || type === 'subscribe') && of.includes(user),
      )
      return await attempt(server.url, acts)
    } finally {
      await server.stop()
    }
  }

  test('not as it stands', async () => {
    expect((await permissionsOn(conf, users, -1)).filter(({ ok }) => !ok)).toEqual([])
  })

  test('has a mutant for every permission', () => {
    expect(users.toSorted()).toEqual(
      everybody(topology, passwords)
        .map(({ user }) => user)
        .toSorted(),
    )
    const permissions = [...conf.matchAll(/allow: \[([^\]]*)\]/g)].flatMap(
      ([, list = '']) => list.match(/"[^"]+"/g) ?? [],
    )
    expect(mutants.filter(({ from }) => from !== '').length).toBeGreaterThanOrEqual(permissions.length)
  })

  // One changed line for each user at a time: users do not see each other's permissions.
  const rounds = Math.max(...users.map((user) => mutants.filter((one) => one.user === user).length))
  test.each(Array.from({ length: rounds }, (_, round) => round))(
    'with one permission of every user wider, round %i',
    async (round) => {
      const here = users.flatMap((user) => mutants.filter((one) => one.user === user)[round] ?? [])
      const proofs = await permissionsOn(
        mutated(here),
        here.map(({ user }) => user),
        round,
      )
      const caught = new Set(proofs.filter(({ ok }) => !ok).map(({ user }) => user))
      expect(here.filter(({ user }) => !caught.has(user))).toEqual([])
    },
  )

  test('with everybody in one account, where only the reply subjects leak', async () => {
    const nats = await startTestNats({ conf: inOneAccount })
    try {
      const inGov = everybody(topology, nats.passwords).map((credential) =>
        credential.js_api_prefix === undefined ? credential : { ...credential, js_api_prefix: '$JS.API' },
      )
      const leaks = (await attempt(nats.url, actsOf(inGov))).filter(({ ok }) => !ok)
      expect(leaks.every(({ act }) => act.startsWith('ask '))).toBe(true)
      expect([...new Set(leaks.map(({ user }) => user))]).toEqual(
        expect.arrayContaining(['exec-1', 'demo-approver', 'demo-auditor']),
      )
      expect(leaks.some(({ id }) => id.includes('/reflect/worker.helpdesk.'))).toBe(true)
    } finally {
      await nats.stop()
    }
  })
})

/** Every permission widened by one token in every way there is, and `worker.>` added to every list. */
function mutantsOf(text: string): Mutant[] {
  const blocks = /\{ user: ([a-z0-9-]+), password: \S+, permissions: \{([^{}]*\{[^{}]*\}){2}/g
  return [...text.matchAll(blocks)].flatMap(({ 0: block, 1: user = '', index }) =>
    [...block.matchAll(/(publish|subscribe): \{ allow: \[([^\]]*)\]/g)].flatMap((found) => {
      const list = found[1] ?? ''
      const start = index + found.index
      const inside = [...found[0].matchAll(/"([^"]+)"/g)].flatMap(({ 1: from = '', index: at }) =>
        wider(from).map((to) => ({ user, list, from, to, at: start + at + 1 })),
      )
      const first = start + found[0].indexOf('[') + 1
      return [...inside, { user, list, from: '', to: '"worker.>",', at: first }]
    }),
  )
}

function wider(permission: string): string[] {
  const [pattern = '', queue] = permission.split(' ')
  const tokens = pattern.split('.')
  const last = tokens.at(-1)
  const before = tokens.slice(0, -1)
  const grown =
    last === '>' ? [...before.slice(0, -1), '>'] : last === '*' ? [...before, '>'] : [...before, '*']
  const subject = grown.join('.')
  return queue === undefined ? [subject] : [`${subject} ${queue}`, pattern]
}

/** Later places first, so that the earlier ones stay where they are. */
function mutated(here: readonly Mutant[]): string {
  return here
    .toSorted((a, b) => b.at - a.at)
    .reduce((text, { from, to, at }) => text.slice(0, at) + to + text.slice(at + from.length), conf)
}

/** The same users with the same permissions, all of them in GOV: what it would be without accounts. */
function inOneAccount(text: string): string {
  const users = [...text.matchAll(/^ {6}\{ user: (?!gateway)[^]*?\} \} \}$/gm)].map(([block]) => block)
  const gov = text.slice(0, text.indexOf('    exports: ['))
  return `${gov.replace(/ {4}\]\n$/, '')}${users.join('\n').replaceAll('gov.API', '$JS.API')}\n    ]\n  }\n}\n`
}
