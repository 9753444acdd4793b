import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import type { Msg, NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { verifyDispatch } from '../../audit/ticket.ts'
import { run } from '../../cli/keys.ts'
import type { Config } from '../../gateway/config/config.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { answerJob, ask, coreWorker, readAudit, readJob, testConfig, until } from '../helpers/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { testTerminal } from '../helpers/terminal.ts'

const policy = 'version: v1\nrules: [{ id: free, match: { topics: ["job.free.*"] }, decision: allow }]\n'
let nats: TestNats
let config: Config
let gateways: Gateway[]
let agent: NatsConnection

beforeAll(async () => {
  nats = await startTestNats()
  config = await testConfig(nats, policy)
  gateways = [await startGateway(config), await startGateway({ ...config, gateway: 'test-2' })]
  agent = await nats.connect('demo')
})
afterAll(async () => {
  await Promise.all(gateways.map((gateway) => gateway.stop()))
  await nats.stop()
})

type PublicJwk = JsonWebKey & { readonly kid: string; readonly from: string }
const served = async ({ httpUrl }: Gateway): Promise<PublicJwk[]> => {
  const response = await fetch(`${httpUrl}/api/v1/keys`)
  return ((await response.json()) as { keys: PublicJwk[] }).keys
}
const keySet = (keys: readonly PublicJwk[]): Map<string, KeyObject> =>
  new Map(keys.map((key) => [key.kid, createPublicKey({ key, format: 'jwk' })]))
const problemOf = (job: Msg, keys: ReadonlyMap<string, KeyObject>): string | undefined =>
  verifyDispatch({ header: (name) => job.headers?.get(name) ?? '', body: job.data }, keys, Date.now())
const keyOf = (job: Msg): string => job.headers?.get('Sluice-Ticket').split('.')[1] ?? ''

test('new keys are on record before they are used, and what was dispatched under the old ones ends as well', async () => {
  const worker = await coreWorker(nats, 'helpdesk-1', () => undefined)
  const [old, ...others] = await served(gateways[0] as Gateway)
  expect(others).toEqual([])
  expect(old).not.toHaveProperty('d')
  const { job_id } = await ask(agent, 'job.free.before', {})
  await until(() => worker.seen.length === 1)

  const terminal = testTerminal()
  expect(await run(['rotate', '--keys', config.keysFile, '--after', '2', '-o', 'json'], terminal)).toBe(0)
  const both = await until(async () => {
    const keys = await Promise.all(gateways.map(served))
    return keys.every(({ length }) => length === 2) && keys[0]
  })
  const fresh = both.find(({ kid }) => kid !== old?.kid)
  // Asked for until one comes under the new key, whichever gateway has it.
  await until(async () => {
    await ask(agent, 'job.free.after', {})
    const job = worker.seen.at(-1)
    return job !== undefined && keyOf(job) === fresh?.kid
  })
  for (const job of worker.seen) expect(problemOf(job, keySet(both))).toBeUndefined()
  expect(keyOf(worker.seen[0] as Msg)).toBe(old?.kid)
  expect(problemOf(worker.seen.at(-1) as Msg, keySet(old === undefined ? [] : [old]))).toBe('unknown-key')

  const helpdesk = await nats.connect('helpdesk-1')
  for (const job of [worker.seen[0], worker.seen.at(-1)]) answerJob(helpdesk, 'helpdesk-1', job as Msg, '{}')
  await until(async () => (await readJob(nats, job_id)).at(-1)?.data.terminal?.status === 'SUCCEEDED')

  const audit = await readAudit(nats)
  for (const gateway of ['test-1', 'test-2']) {
    const told = audit.find(
      ({ record }) => record.type === 'sluice.gateway.keys.v1' && record.source === `urn:sluice:${gateway}`,
    )
    expect(JSON.stringify(told?.record.data)).toContain(`"id":"${fresh?.kid}"`)
  }
  const firstUse = Number(
    worker.seen.find((job) => keyOf(job) === fresh?.kid)?.headers?.get('Sluice-Decision'),
  )
  const announced = audit.find(({ record }) => record.type === 'sluice.gateway.keys.v1')?.seq ?? Infinity
  expect(announced).toBeLessThan(firstUse)
})

test('sluice keys ls shows which key is in use', async () => {
  const terminal = testTerminal()
  expect(await run(['ls', '--url', gateways[0]?.httpUrl ?? ''], terminal)).toBe(0)
  const states = terminal.outLines.slice(1).map((line) => line.split(/\s{2,}/)[1])
  expect(states).toEqual(['before', 'in use'])
})

test('a key file that is damaged while a gateway runs changes nothing, and is shown', async () => {
  const good = await readFile(config.keysFile, 'utf8')
  await writeFile(config.keysFile, '{')
  const verbose = async (): Promise<string> =>
    (await fetch(`${gateways[0]?.httpUrl ?? ''}/readyz?verbose`)).text()
  await until(async () => (await verbose()).includes('is not JSON'))
  expect(await ask(agent, 'job.free.still', {})).toMatchObject({ state: 'DISPATCHED' })
  await writeFile(config.keysFile, good)
  await until(async () => !(await verbose()).includes('is not JSON'))
})

test.each([
  ['no number of seconds', ['rotate', '--after', 'soon'], 2],
  ['a file that is not there', ['rotate', '--keys', 'nowhere.json'], 78],
])('refuses %s', async (_, args, code) => {
  expect(await run(args, testTerminal())).toBe(code)
})
