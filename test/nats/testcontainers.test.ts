import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { connect } from '@nats-io/transport-node'
import { GenericContainer, Wait, type StartedTestContainer } from 'testcontainers'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { readInputs, type Inputs } from '../../cli/dev/inputs.ts'
import { findNats } from '../../cli/dev/nats-binary.ts'
import { newPasswords, passwordEnvironment, withOwner, type Passwords } from '../../cli/dev/nats-conf.ts'
import { provisionAs } from '../../cli/dev/provisioned-nats.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { createKeys } from '../../gateway/config/keys.ts'
import { testApprovals } from '../helpers/gateway.ts'
import { buildFromProgram, openDocker, type Docker } from '../helpers/docker.ts'
import { testHttp } from '../helpers/gateway.ts'

/** The server of this machine in an image of its own, because nothing is pulled. */
const image = 'sluice-test-nats:local'

let docker: Docker | string
let folder: string
let container: StartedTestContainer | undefined
let gateway: Gateway | undefined
let inputs: Inputs
let passwords: Passwords
let url: string

beforeAll(async () => {
  docker = await openDocker('bridge')
  if (typeof docker === 'string') return
  const search = await findNats(process.env, () => undefined)
  const read = await readInputs(undefined, process.cwd())
  if (!search.ok || !read.ok) throw new Error('no nats-server, or the demo does not load')
  inputs = read.inputs
  passwords = newPasswords(inputs.topology)
  folder = await mkdtemp(join(tmpdir(), 'sluice-containers-'))
  await buildFromProgram(docker, image, search.nats.binary, '/nats-server')
  // Read by testcontainers when it first looks for an engine. Its reaper would have to be pulled; we clean up ourselves.
  process.env['DOCKER_HOST'] = docker.host
  process.env['TESTCONTAINERS_RYUK_DISABLED'] = 'true'
  container = await new GenericContainer(image)
    .withCommand(['-c', '/etc/nats.conf', '-a', '0.0.0.0', '-sd', '/tmp/store'])
    .withCopyContentToContainer([{ content: withOwner(inputs.conf), target: '/etc/nats.conf' }])
    .withEnvironment(passwordEnvironment(passwords))
    .withExposedPorts(4222)
    .withWaitStrategy(Wait.forLogMessage(/Server is ready/))
    .start()
  url = `nats://${container.getHost()}:${container.getMappedPort(4222)}`
}, 120_000)
afterAll(async () => {
  await gateway?.stop()
  await container?.stop()
  if (typeof docker === 'string') return
  await docker.run('image', 'rm', '--force', image).catch(() => '')
  await docker.stop()
  await rm(folder, { recursive: true, force: true })
}, 60_000)

test('on a server in a container a job goes from an agent to a worker and back', async ({ skip }) => {
  if (typeof docker === 'string') return skip(docker)
  await provisionAs(url, passwords['owner'] ?? '', inputs.topology, inputs.limits)
  const keysFile = join(folder, 'keys.json')
  await createKeys(
    keysFile,
    inputs.topology.tenants.map(({ name }) => name),
  )
  const policyFile = join(folder, 'policy.yaml')
  await writeFile(policyFile, await readFile(inputs.policyFile))
  gateway = await startGateway({
    profile: 'dev',
    gateway: 'test-1',
    nats: { url, user: 'gateway', credential: { password: passwords['gateway'] ?? '' } },
    http: testHttp,
    tokensFile: undefined,
    policyFile,
    topologyFile: inputs.topologyFile,
    keysFile,
    decisionTimeoutMs: 2_000,
    failMode: 'closed',
    failOpenTopics: [],
    dispatchTimeoutSec: 300,
    acceptFindings: [],
    quarantineExpiresSec: 7 * 86_400,
    limits: inputs.limits,
    approvals: testApprovals,
    logLevel: 'silent',
  })
  const worker = await connect({
    servers: url,
    user: 'helpdesk-1',
    pass: passwords['helpdesk-1'] ?? '',
    inboxPrefix: '_INBOX_helpdesk-1',
  })
  worker.subscribe('worker.helpdesk.>', {
    queue: 'helpdesk',
    callback: (_error, job) => {
      if (job.headers === undefined) throw new Error('a dispatch without headers')
      // The headers that a result must echo are among those that came.
      worker.publish(`result.helpdesk-1.${job.headers.get('Sluice-Job')}`, '{"ticket":"T-1"}', {
        headers: job.headers,
      })
    },
  })
  await worker.flush()
  const agent = await connect({ servers: url, user: 'demo', pass: passwords['demo'] ?? '' })
  const answer = (await agent.request('job.mcp-bridge.read.get_ticket', '{}', { timeout: 10_000 })).json<{
    job_id: string
  }>()
  const view = await fetch(`${gateway.httpUrl}/api/v1/jobs/${answer.job_id}?wait=10`)
  expect(await view.json()).toMatchObject({ state: 'SUCCEEDED', result: { body: { ticket: 'T-1' } } })
  await Promise.all([agent.close(), worker.close()])
})
