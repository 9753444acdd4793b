import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { connect, type ConnectionOptions, type NatsConnection } from '@nats-io/transport-node'

import { newPasswords, withOwner, type Passwords } from '../../cli/dev/nats-conf.ts'
import { natsServerVersion } from '../../cli/dev/nats-binary.ts'
import { startNatsProcess, type NatsProcess } from '../../cli/dev/nats-process.ts'
import { provisionAs, startProvisionedNats } from '../../cli/dev/provisioned-nats.ts'
import { type ApiRequest } from '../../gateway/nats/provision.ts'
import { defaultLimits, type StreamLimits } from '../../gateway/nats/streams.ts'
import { placedAgents, type Topology } from '../../gateway/config/topology.ts'
import { replayAll } from './replayed.ts'
import { demoTopology } from './topology.ts'

/** A private nats-server with nats.conf's accounts and all streams, on a free port, its files in a temporary folder. */
export type TestNats = {
  url: string
  port: number
  pid: number
  /** `2.9.10` */
  version: string
  passwords: Passwords
  topology: Topology
  /** A connection of this user, with the inbox prefix its permissions ask for; closed by `stop`. */
  connect(user: string, options?: ConnectionOptions): Promise<NatsConnection>
  kill9(): Promise<void>
  /** Starts it again after `kill9`: same port, same files, same passwords. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export type TestNatsOptions = {
  limits?: Partial<StreamLimits>
  /** Changes the text of nats.conf before it is used. */
  conf?: (text: string) => string
  topology?: Topology
  /** The owner's user stays in the running server, for a test that is about the owner. */
  owner?: 'stays'
  /** False: no streams. */
  provisioned?: false
  /** False: what is on record is not decided again at the end, because the test puts an evaluator of its own in the place of ours. */
  replay?: false
}

/** The client's own second is no time on a busy machine. */
const patient = { timeout: 15_000 }

/** Small enough that a hundred servers fit on a laptop; a test about fullness sets its own. */
export const testLimits: StreamLimits = { ...defaultLimits, auditBytesMax: 512 * 1024 * 1024 }

/**
 * The server this vitest project runs on. vitest.config.ts runs every file that imports this one once per server it
 * has found.
 */
export async function startTestNats(options: TestNatsOptions = {}): Promise<TestNats> {
  const binary = process.env['SLUICE_TEST_NATS_BINARY']
  if (binary === undefined)
    throw new Error('no nats-server: start the tests with vitest and its configuration')
  const text = await readFile('nats.conf', 'utf8')
  const conf = options.conf === undefined ? text : options.conf(text)
  const topology = options.topology ?? (await demoTopology())
  const passwords = newPasswords(topology)
  const storeDir = await mkdtemp(join(tmpdir(), 'sluice-test-'))
  const start = { binary, conf, passwords, storeDir, port: -1 }
  const limits = { ...testLimits, ...options.limits }
  const owned = { ...start, conf: options.owner === 'stays' ? withOwner(conf) : conf }
  let server: NatsProcess
  if (options.owner === 'stays' || options.provisioned === false) {
    server = await startNatsProcess(owned)
    if (options.provisioned !== false)
      await provisionAs(server.url, passwords['owner'] ?? '', topology, limits)
  } else {
    ;({ server } = await startProvisionedNats({ ...start, topology, limits }))
  }
  const { url, port } = server
  const connections = new Set<NatsConnection>()
  return {
    url,
    port,
    get pid() {
      return server.pid
    },
    version: await natsServerVersion(binary),
    passwords,
    topology,
    connect: async (user, more = {}) => {
      const connection = await connect({
        servers: url,
        user,
        pass: passwords[user] ?? '',
        inboxPrefix: inboxPrefix(topology, user),
        ...more,
      })
      connections.add(connection)
      const request = connection.request.bind(connection)
      connection.request = (subject, body, asked) => request(subject, body, { ...patient, ...asked })
      return connection
    },
    kill9: () => server.kill9(),
    restart: async () => {
      server = await startNatsProcess({ ...owned, port })
    },
    stop: async () => {
      const user = (name: string): Promise<NatsConnection> =>
        connect({
          servers: url,
          user: name,
          pass: passwords[name] ?? '',
          inboxPrefix: inboxPrefix(topology, name),
          reconnect: false,
          timeout: 2_000,
        })
      // Under accounts that a test changed nobody can be sure to be let in.
      const skipsReplay =
        options.replay === false || options.provisioned === false || options.conf !== undefined
      // A server that is gone, or that has no streams, has nothing that could be decided again.
      const auditor = skipsReplay ? undefined : await user('demo-auditor').catch(() => undefined)
      let broken: unknown
      if (auditor !== undefined) {
        const gateway = await user('gateway')
        connections.add(auditor).add(gateway)
        await replayAll(auditor, gateway).catch((error: unknown) => (broken = error))
      }
      await Promise.all([...connections].map((connection) => connection.close()))
      await server.stop()
      await rm(storeDir, { recursive: true, force: true })
      if (broken instanceof Error) throw broken
    },
  }
}

/** The JetStream API as the owner of the streams, for a server started with `owner: 'stays'`. */
export async function asOwner(nats: TestNats): Promise<ApiRequest> {
  const connection = await nats.connect('owner')
  return async (subject, body) => {
    const question = body === undefined ? '' : JSON.stringify(body)
    const message = await connection.request(subject, question, { timeout: 15_000 })
    const answer = message.json<Record<string, unknown>>()
    const error = answer['error'] as { err_code?: number; description?: string } | undefined
    if (error === undefined) return answer
    throw Object.assign(new Error(error.description ?? 'refused'), { code: error.err_code ?? 0 })
  }
}

/** Agents that have an account to themselves use the inbox prefix of every NATS client. */
function inboxPrefix(topology: Topology, user: string): string {
  const agent = placedAgents(topology).find((placed) => placed.user === user)
  return agent?.alone === true ? '_INBOX' : `_INBOX_${user}`
}
