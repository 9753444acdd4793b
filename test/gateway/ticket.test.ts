import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Msg, NatsConnection } from '@nats-io/transport-node'
import { keyId, signTickets, verifyDispatch, type Message } from '../../audit/ticket.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { ask, coreWorker, readAudit, testConfig, until } from '../helpers/gateway.ts'

let nats: TestNats
let gateway: Gateway
let agent: NatsConnection

beforeAll(async () => {
  nats = await startTestNats()
  gateway = await startGateway(await testConfig(nats, await readFile('deploy/policy.yaml', 'utf8')))
  agent = await nats.connect('demo')
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
})

type Changed = { readonly headers?: Record<string, string>; readonly body?: Uint8Array }
const asMessage = (message: Msg, changed: Changed = {}): Message => ({
  header: (name) => changed.headers?.[name] ?? message.headers?.get(name) ?? '',
  body: changed.body ?? message.data,
})

test('a worker verifies a dispatch with the recorded public key, and refuses every alteration of it', async () => {
  const worker = await coreWorker(nats, 'helpdesk-1', () => ({ body: '{}' }))
  await Promise.all(Array.from({ length: 20 }, (_, n) => ask(agent, 'job.mcp-bridge.read.x', { payload: n })))
  await until(() => worker.seen.length === 20)
  const start = (await readAudit(nats)).find(({ record }) => record.type === 'sluice.gateway.start.v1')
  if (start === undefined) throw new Error('the start of the gateway is not on record')
  const { ticket_key } = start.record.data as unknown as {
    ticket_key: { id: string; public_key: string }
  }
  const keys = new Map([[ticket_key.id, createPublicKey(ticket_key.public_key)]])
  const nowMs = Date.now()
  for (const message of worker.seen) expect(verifyDispatch(asMessage(message), keys, nowMs)).toBeUndefined()

  const [one, two] = worker.seen as [Msg, Msg]
  const altered = (headers: Record<string, string>): string | undefined =>
    verifyDispatch(asMessage(one, { headers }), keys, nowMs)
  expect(verifyDispatch(asMessage(one, { body: two.data }), keys, nowMs)).toBe('altered-body')
  expect(altered({ 'Sluice-Constraints': '{"max_runtime_sec":9}' })).toBe('altered-constraints')
  expect(altered({ 'Sluice-Ticket': two.headers?.get('Sluice-Ticket') ?? '' })).toMatch(
    /bad-signature|malformed-ticket/,
  )
  expect(altered({ 'Sluice-Ticket': '' })).toBe('malformed-ticket')
  expect(altered({ 'Sluice-Tenant': 'acme' })).toBe('altered-tenant')
  expect(altered({ 'Sluice-Tenant': '' })).toBe('altered-tenant')
  for (const name of ['Sluice-Job', 'Sluice-Attempt', 'Sluice-Deadline', 'Sluice-Decision', 'Sluice-Topic'])
    expect(altered({ [name]: `${one.headers?.get(name) ?? ''}1` })).toBe('bad-signature')
  expect(
    verifyDispatch(asMessage(one), keys, Date.parse(one.headers?.get('Sluice-Deadline') ?? '') + 1),
  ).toBe('past-deadline')

  const forger = generateKeyPairSync('ed25519')
  const id = keyId(forger.publicKey)
  const dispatch = {
    job: one.headers?.get('Sluice-Job') ?? '',
    topic: one.headers?.get('Sluice-Topic') ?? '',
    attempt: '1',
    decision: one.headers?.get('Sluice-Decision') ?? '',
    job_hash: one.headers?.get('Sluice-Job-Hash') ?? '',
    constraints_hash: one.headers?.get('Sluice-Constraints-Hash') ?? '',
    deadline: one.headers?.get('Sluice-Deadline') ?? '',
  }
  const [forged] = signTickets([dispatch], forger.privateKey, id)
  expect(altered({ 'Sluice-Ticket': forged ?? '' })).toBe('unknown-key')
  const [disguised] = signTickets([dispatch], forger.privateKey, ticket_key.id)
  expect(altered({ 'Sluice-Ticket': disguised ?? '' })).toBe('bad-signature')
})
