import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { startNatsProcess } from '../cli/dev/nats-process.ts'
import { gatewayConsumer, intakeStream } from '../gateway/nats/streams.ts'
import type { BareArgument } from './bare-gateway.ts'
import { startChild } from './children.ts'
import type { Constants, GatewayWord, Login } from './protocol.ts'
import { provisioned, serve, stopServer } from './serving.ts'

/** What stands between agent and worker, on a server of its own that is as new as everybody else's. */
export type Ground = {
  agent: Login
  worker: Login
  /** Absent where there is no trail to read. */
  auditor?: Login
  between: { pid: number; stop: () => Promise<void> }
  stop: () => Promise<void>
}

export type GroundOptions = { binary: string; profileDir: string | undefined }

const readyWithinMs = 30_000

/** The gateway as `sluice serve` runs it, with the demo's policy, accounts and streams. */
export async function governed(
  { binary, profileDir }: GroundOptions,
  tickets: 'with tickets' | 'without tickets' = 'with tickets',
): Promise<Ground> {
  const server = await provisioned(binary)
  const without = { program: [fileURLToPath(new URL('./ticketless-gateway.js', import.meta.url))] }
  const gateway = await serve(server, profileDir, tickets === 'with tickets' ? {} : without).catch(
    async (error: unknown) => {
      await server.stop()
      throw error
    },
  )
  return {
    agent: server.login('demo'),
    worker: server.login('helpdesk-1'),
    auditor: server.login('demo-auditor'),
    between: gateway,
    stop: server.stop,
  }
}

/** The same server, streams, users and bytes, without a decision. */
export async function bare({ binary }: GroundOptions, constants: Constants): Promise<Ground> {
  const server = await provisioned(binary)
  const argument: BareArgument = {
    ...server.login('gateway'),
    constants,
    stream: intakeStream('default', 'demo'),
    consumer: gatewayConsumer,
  }
  const gateway = startChild<never, GatewayWord>('bare-gateway', argument)
  gateway.onWord((word) => {
    if (word.type === 'failed') process.stderr.write(`bench: the bare gateway failed: ${word.why}\n`)
  })
  await gateway.word('ready', readyWithinMs)
  return {
    agent: server.login('demo'),
    worker: server.login('helpdesk-1'),
    auditor: server.login('demo-auditor'),
    between: gateway,
    stop: server.stop,
  }
}

/** A server without accounts and streams, and a process that sends every job on. */
export async function relay({ binary }: GroundOptions): Promise<Ground> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
  const server = await startNatsProcess({
    binary,
    conf: 'server_name: relay\n',
    passwords: {},
    storeDir: dir,
    port: -1,
  })
  const login = { url: server.url, inboxPrefix: '_INBOX' }
  const between = startChild<never, GatewayWord>('relay', login)
  await between.word('ready', readyWithinMs)
  return { agent: login, worker: login, between, stop: () => stopServer(server, dir) }
}
