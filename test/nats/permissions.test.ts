import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { actsOf } from '../../cli/nats-acts.ts'
import { attempt, type Proof } from '../../cli/nats-attempt.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { everybody } from '../helpers/roles.ts'

describe('the server refuses whatever is not granted', () => {
  let nats: TestNats
  let proofs: Proof[]
  beforeAll(async () => {
    nats = await startTestNats()
    proofs = await attempt(nats.url, actsOf(everybody(nats.topology, nats.passwords)))
  })
  afterAll(() => nats.stop())

  test('every user there is has tried', () => {
    const users = Object.keys(nats.passwords).filter((user) => user !== 'owner' && user !== 'sys')
    expect([...new Set(proofs.map(({ user }) => user))].toSorted()).toEqual(users.toSorted())
  })

  test('each act has an id of its own', () => {
    expect(new Set(proofs.map(({ id }) => id)).size).toBe(proofs.length)
  })

  test('and what is granted is let through, and answered', () => {
    expect(proofs.filter(({ ok }) => !ok)).toEqual([])
    for (const expected of ['refused', 'allowed', 'answered', 'not heard'])
      expect(proofs.some((proof) => proof.expected === expected)).toBe(true)
  })

  test('the owner of the streams is not there while the system runs', async () => {
    await expect(nats.connect('owner', { reconnect: false })).rejects.toThrow(/authoriz/i)
  })

  test('no attempt left anything in any stream', async () => {
    const gateway = await nats.connect('gateway')
    for (const stream of [
      'AUDIT',
      'WORK',
      'APPROVALS',
      'COMMANDS',
      'JOBS_default_demo',
      'RESULTS_helpdesk',
    ]) {
      const answer = await gateway.request(`$JS.API.STREAM.INFO.${stream}`)
      const { state } = answer.json<{ state: { messages: number } }>()
      expect([stream, state.messages]).toEqual([stream, 0])
    }
  })
})
