import { readFile, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'

import { connect } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { isAlive, startDev, type Dev, type Ready } from '../helpers/dev.ts'
import { scratchFolder } from '../helpers/scratch.ts'
import { demoTopology } from '../helpers/topology.ts'
import { runsOn } from '../helpers/which-server.ts'

/** Folders, ports and signals are the same whatever server stands behind them; such a test runs on one of the two. */
const processesOnly = 'it is about processes, not about the server'

describe('sluice dev', () => {
  let folder: Awaited<ReturnType<typeof scratchFolder>>
  let devs: Dev[]
  beforeEach(async () => {
    folder = await scratchFolder()
    devs = []
  })
  afterEach(async () => {
    for (const dev of devs) dev.child.kill('SIGKILL')
    await Promise.all(devs.map((dev) => dev.exited))
    await folder.remove()
  })

  const start = async (args: string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Dev> => {
    const dev = await startDev(args, { cwd: folder.path, env })
    devs.push(dev)
    return dev
  }
  const processesOf = (ready: Ready): number[] => [
    ready.pid,
    ready.nats_pid,
    ...ready.gateways.map(({ pid }) => pid),
  ]
  const readyFile = async (ready: Ready): Promise<Ready> =>
    JSON.parse(await readFile(join(ready.data_dir, 'ready.json'), 'utf8')) as Ready
  const noneAlive = async (pids: number[]): Promise<boolean> =>
    (await Promise.all(pids.map(isAlive))).every((alive) => !alive)

  test('prints one line when everything is up, keeps it for its owner only, and leaves nothing behind', async () => {
    const dev = await start(['--gateways', '2'])
    const ready = await dev.ready
    expect(ready).toMatchObject({
      ready: true,
      pid: dev.child.pid,
      data_dir: join(folder.path, '.sluice', 'dev'),
    })
    expect(ready.gateways).toHaveLength(2)
    expect(ready.gateways[0]?.http_url).toBe(ready.http_url)
    expect(ready.policy_snapshot).toMatch(/^[0-9a-f]{64}$/)
    for (const { http_url } of ready.gateways) expect((await fetch(`${http_url}/readyz`)).status).toBe(200)
    const file = join(ready.data_dir, 'ready.json')
    expect(await readyFile(ready)).toEqual(ready)
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    dev.child.kill('SIGTERM')
    expect(await dev.exited).toBe(0)
    expect(dev.stdout().trim().split('\n')).toHaveLength(1)
    expect(await noneAlive(processesOf(ready))).toBe(true)
    await expect(stat(file)).rejects.toThrow('ENOENT')
  })

  test('gives out a credential that works for everybody in the topology', async () => {
    // Whatever the shell is set up for: the server is a private one, and so are the gateways' settings.
    const elsewhere = {
      NATS_URL: 'nats://127.0.0.1:1',
      NATS_USER: 'nobody',
      NATS_NKEY: '/nowhere',
      SLUICE_NATS_NKEY_SEED: 'x',
      SLUICE_CONFIG: '/nowhere',
    }
    const { credentials, nats_url } = await (
      await start(['--no-demo', '--http-port', '0', '--nats-port', '0'], elsewhere)
    ).ready
    const topology = await demoTopology()
    const agents = topology.tenants.flatMap((tenant) => tenant.agents.map((agent) => agent.user))
    const workers = topology.pools.flatMap((pool) => pool.workers)
    expect(credentials.map(({ user }) => user)).toEqual([
      ...agents,
      ...workers,
      ...topology.approvers,
      ...topology.auditors,
      ...topology.operators,
    ])
    for (const { user, password, inbox_prefix, subscribe = [], queue } of credentials) {
      const connection = await connect({ servers: nats_url, user, pass: password, inboxPrefix: inbox_prefix })
      const refused: unknown[] = []
      for (const subject of [`${inbox_prefix}.mine`, ...subscribe]) {
        connection.subscribe(subject, {
          ...(queue === undefined || subject.startsWith('_') ? {} : { queue }),
          callback: (error) => void (error !== null && refused.push(error)),
        })
      }
      await connection.flush()
      expect(refused).toEqual([])
      await connection.close()
    }
  })

  test('a second one beside the first takes another folder and another port, and says so', async ({
    skip,
  }) => {
    skip(runsOn('current'), processesOnly)
    const first = await (await start()).ready
    const other = await start()
    const second = await other.ready
    expect(second.data_dir).toBe(`${first.data_dir}-2`)
    expect(second.http_url).not.toBe(first.http_url)
    expect(second.nats_url).not.toBe(first.nats_url)
    await expect.poll(() => other.stderr()).toContain(`${first.data_dir} (process ${first.pid}) is in use`)
    const elsewhere = !second.http_url.endsWith(':8081')
    expect(other.stderr().includes('port 8081 is taken, the api is on')).toBe(elsewhere)
  })

  test('does not take a folder by name that another one uses', async ({ skip }) => {
    skip(runsOn('current'), processesOnly)
    await (
      await start(['--data-dir', 'mine'])
    ).ready
    const other = await start(['--data-dir', 'mine'])
    expect(await other.exited).toBe(1)
    expect(other.stderr()).toContain('is used by another sluice dev')
  })

  test('takes a folder again whose owner was killed, with the same server address and the same passwords', async () => {
    const first = await start()
    const before = await first.ready
    first.child.kill('SIGKILL')
    await expect.poll(() => noneAlive(processesOf(before))).toBe(true)
    const after = await (await start()).ready
    expect(after).toMatchObject({ data_dir: before.data_dir, nats_url: before.nats_url })
    expect(after.credentials).toEqual(before.credentials)
  })

  test('starts a gateway again that was killed, and writes down its new process', async () => {
    const ready = await (await start()).ready
    const [gateway] = ready.gateways
    process.kill(gateway?.pid ?? 0, 'SIGKILL')
    await expect.poll(async () => (await readyFile(ready)).gateways[0]?.pid).not.toBe(gateway?.pid)
    const status = (): Promise<number> =>
      fetch(`${ready.http_url}/readyz`).then(
        ({ status: code }) => code,
        () => 0,
      )
    await expect.poll(status).toBe(200)
  })

  test('starts the server again that was killed, on the same port with the same streams', async () => {
    const ready = await (await start()).ready
    process.kill(ready.nats_pid, 'SIGKILL')
    await expect.poll(async () => (await readyFile(ready)).nats_pid).not.toBe(ready.nats_pid)
    const status = (): Promise<number> =>
      fetch(`${ready.http_url}/readyz`).then(
        ({ status: code }) => code,
        () => 0,
      )
    await expect.poll(status).toBe(200)
  })

  test('does not start with a policy that does not load, and says where and what was probably meant', async () => {
    const text = ['version: v1', 'rules:', '  - id: one', '    match: {}', '    decision: denny'].join('\n')
    await writeFile(join(folder.path, 'bad.yaml'), text)
    const dev = await start(['--policy', 'bad.yaml'])
    expect(await dev.exited).toBe(78)
    expect(dev.stderr()).toMatch(/^bad\.yaml:5:15: .*denny.*did you mean "deny"/m)
  })

  test('does not start on a port that was asked for and is taken', async () => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const address = taken.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    try {
      const dev = await start(['--http-port', String(port)])
      expect(await dev.exited).toBe(1)
      expect(dev.stderr()).toContain(`--http-port ${port}: this port is taken`)
    } finally {
      taken.close()
    }
  })

  test('an option nobody knows is refused with the one that was meant', async () => {
    const dev = await start(['--gatways', '2'])
    expect(await dev.exited).toBe(2)
    expect(dev.stderr()).toContain('did you mean --gateways?')
  })

  test('can be ended while it starts', async ({ skip }) => {
    skip(runsOn('current'), processesOnly)
    const dev = await start()
    await expect.poll(() => dev.stderr()).toContain('nats-server: nats://')
    dev.child.kill('SIGINT')
    expect(await dev.exited).toBe(0)
    expect(dev.stdout()).toBe('')
    const again = await (await start()).ready
    expect(again.data_dir).toBe(join(folder.path, '.sluice', 'dev'))
  })
})
