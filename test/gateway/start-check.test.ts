import { afterAll, beforeAll, expect, test } from 'vitest'
import { startGateway } from '../../gateway/gateway.ts'
import type { Config } from '../../gateway/config/config.ts'
import { UnsafeServer } from '../../gateway/nats/start-check.ts'
import { ensureBuilt } from '../../cli/setup.mjs'
import { readAudit, testConfig } from '../helpers/gateway.ts'
import { asOwner, startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { sluice } from '../helpers/sluice.ts'

let nats: TestNats
let config: Config

beforeAll(async () => {
  await ensureBuilt()
  nats = await startTestNats({ owner: 'stays' })
  config = await testConfig(
    nats,
    'version: v1\nrules: [{ id: free, match: { topics: ["job.free.*"] }, decision: allow }]\n',
  )
  const api = await asOwner(nats)
  const { config: commands } = (await api('$JS.API.STREAM.INFO.COMMANDS')) as { config: object }
  await api('$JS.API.STREAM.UPDATE.COMMANDS', { ...commands, discard: 'old' })
})
afterAll(() => nats.stop())

test('a gateway does not start on a server that would lose what it relies on, and says what to do', async () => {
  const failed = await startGateway(config).then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(failed).toBeInstanceOf(UnsafeServer)
  expect((failed as Error).message).toMatch(
    /stream-drift:COMMANDS: .*discard is "old", planned is "new"\n.*sluice provision.*\n.*accept_findings: \[stream-drift:COMMANDS\]/,
  )
  expect(await readAudit(nats)).toEqual([])
})

test('it starts when that very finding is accepted in writing, and says so on record and to whoever asks', async () => {
  await expect(startGateway({ ...config, acceptFindings: ['stream-drift:AUDIT'] })).rejects.toThrow(
    UnsafeServer,
  )
  const gateway = await startGateway({ ...config, acceptFindings: ['stream-drift:COMMANDS'] })
  expect(gateway.accepted.map(({ id }) => id)).toEqual(['stream-drift:COMMANDS'])
  const start = (await readAudit(nats)).find(({ record }) => record.type === 'sluice.gateway.start.v1')
  expect(start?.record.data).toMatchObject({ accepted_findings: [{ id: 'stream-drift:COMMANDS' }] })
  const verbose = await (await fetch(`${gateway.httpUrl}/readyz?verbose`)).text()
  expect(verbose).toContain('accepted in writing: stream-drift:COMMANDS')
  await gateway.stop()
})

test('sluice serve ends with 78 where nothing was provisioned', async () => {
  const bare = await startTestNats({ provisioned: false })
  const flags = {
    profile: 'dev',
    'nats-url': bare.url,
    'http-port': '0',
    policy: config.policyFile,
    topology: config.topologyFile,
    keys: config.keysFile,
  }
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value])
  const ran = await sluice(['serve', ...args], { env: { SLUICE_NATS_PASSWORD: bare.passwords['gateway'] } })
  expect(ran.stderr).toMatch(/stream-drift:AUDIT: stream AUDIT does not exist\n.*sluice provision/)
  expect(ran.code).toBe(78)
  await bare.stop()
})
