import { createWriteStream, mkdirSync } from 'node:fs'
import { join } from 'node:path'

import { type Credential } from './credentials.ts'
import { storedKeys } from './data-dir.ts'
import { gatewayReady, startGatewayProcess } from './gateways.ts'
import { type Inputs } from './inputs.ts'
import { keepRunning, type Kept } from './keep-running.ts'
import { type Passwords } from './nats-conf.ts'
import { startNatsProcess, type NatsProcess } from './nats-process.ts'
import { startProvisionedNats } from './provisioned-nats.ts'
import { demoWorkers, startWorker } from './workers.ts'

/** Everything that runs, so that each piece can say which process it is now. */
export type Stack = {
  nats: { url: string; pid(): number }
  gateways: { httpUrl: string; pid(): number }[]
  workers: string[]
}

export type StackOptions = {
  inputs: Inputs
  dataDir: string
  passwords: Passwords
  credentials: Credential[]
  natsBinary: string
  natsPort: number
  httpPorts: number[]
  demo: boolean
  say: (line: string) => void
  /** A process was replaced by a new one: what was written down about it is old. */
  changed: () => void
}

/** What is open. The first of it is the server that all others need, so it is closed last. */
export class Opened {
  readonly #kept: Kept[] = []
  #closed = false

  add(kept: Kept): Kept {
    if (this.#closed) void kept.stop() // Somebody lost patience while this one started.
    else this.#kept.push(kept)
    return kept
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const [server, ...others] = this.#kept
    await Promise.all(others.map((kept) => kept.stop()))
    await server?.stop()
  }
}

/** A gateway that ended instead of getting ready; `code` is its exit code. */
export class GatewayEnded extends Error {
  readonly code: number
  constructor(name: string, code: number, lastWords: string) {
    super(`${name} ended with ${code}:\n${lastWords}`)
    this.code = code
  }
}

/** Starts the server, the gateways and the workers, in this order; returns when every gateway says that it is ready. */
export async function startStack(options: StackOptions, opened: Opened): Promise<Stack> {
  const nats = await openNats(options, opened)
  options.say(`nats-server: ${nats.url}`)
  const gateways = await openGateways(options, nats.url, opened)
  const workers = options.demo ? await openWorkers(options, nats.url, opened) : []
  return { nats, gateways, workers }
}

async function openNats(options: StackOptions, opened: Opened): Promise<{ url: string; pid(): number }> {
  const { inputs, passwords } = options
  const start = {
    binary: options.natsBinary,
    conf: inputs.conf,
    passwords,
    storeDir: join(options.dataDir, 'nats'),
    onLine: logTo(options.dataDir, 'nats-server').write,
  }
  const { server } = await startProvisionedNats({
    ...start,
    port: options.natsPort,
    topology: inputs.topology,
    limits: inputs.limits,
  })
  const again = (): Promise<NatsProcess> => startNatsProcess({ ...start, port: server.port })
  const kept = opened.add(
    keepRunning('nats-server', server, again, { say: options.say, restarted: options.changed }),
  )
  return { url: server.url, pid: () => kept.pid() }
}

async function openGateways(
  options: StackOptions,
  natsUrl: string,
  opened: Opened,
): Promise<Stack['gateways']> {
  const { inputs, dataDir } = options
  const keysFile = await storedKeys(dataDir, inputs.topology)
  return Promise.all(
    options.httpPorts.map(async (httpPort, index) => {
      const name = `gateway-${index + 1}`
      const httpUrl = `http://127.0.0.1:${httpPort}`
      const log = logTo(dataDir, name)
      const start = () =>
        startGatewayProcess({
          name,
          natsUrl,
          password: options.passwords['gateway'] ?? '',
          httpPort,
          policyFile: inputs.policyFile,
          topologyFile: inputs.topologyFile,
          keysFile,
          dataDir,
          onLine: log.write,
        })
      const gateway = await start()
      const ready = await gatewayReady(gateway, httpUrl)
      if (ready !== 'ready') {
        await gateway.stop()
        throw new GatewayEnded(name, ready ?? 1, log.lastWords())
      }
      const kept = opened.add(
        keepRunning(name, gateway, start, { say: options.say, restarted: options.changed }),
      )
      return { httpUrl, pid: () => kept.pid() }
    }),
  )
}

async function openWorkers(options: StackOptions, natsUrl: string, opened: Opened): Promise<string[]> {
  return Promise.all(
    demoWorkers(options.credentials).map(async ({ credential, program }) => {
      const name = credential.actor
      const log = logTo(options.dataDir, name)
      const start = () => startWorker(credential, program, natsUrl, options.dataDir, log.write)
      opened.add(keepRunning(name, await start(), start, { say: options.say, restarted: () => undefined }))
      return name
    }),
  )
}

const lastWordsMax = 20

/** A child's output goes to a file of its own, anew at each start; the last lines are at hand if it does not start. */
function logTo(dataDir: string, name: string): { write: (line: string) => void; lastWords(): string } {
  const folder = join(dataDir, 'logs')
  mkdirSync(folder, { recursive: true })
  const file = createWriteStream(join(folder, `${name}.log`))
  file.on('error', () => undefined)
  const last: string[] = []
  return {
    write: (line) => {
      file.write(`${line}\n`)
      last.push(line)
      if (last.length > lastWordsMax) last.shift()
    },
    lastWords: () => last.join('\n'),
  }
}
