import { createWriteStream, mkdirSync } from 'node:fs'
import { join } from 'node:path'

import { exitCodes } from '../exit-codes.ts'
import { type Credential } from './credentials.ts'
import { storedKeys } from './data-dir.ts'
import { gatewayUrl, startGatewayProcess, startReadyGateway, type GatewayOptions } from './gateways.ts'
import { type Inputs } from './inputs.ts'
import { keepRunning, type Kept, type Running } from './keep-running.ts'
import { type Passwords } from './nats-conf.ts'
import { startNatsProcess, type NatsProcess } from './nats-process.ts'
import { freePort } from './ports.ts'
import { startProvisionedNats } from './provisioned-nats.ts'
import { demoWorkers, startWorker, type WorkerPlace } from './workers.ts'

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
  /** One for each gateway; a port that nobody asked for may be replaced by another. */
  httpPorts: { port: number; asked: boolean }[]
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
  const keysUrl = `${gateways[0]?.httpUrl ?? ''}/api/v1/keys`
  const place = { natsUrl: nats.url, dataDir: options.dataDir, keysUrl }
  const workers = options.demo ? await openWorkers(options, place, opened) : []
  return { nats, gateways, workers }
}

async function openNats(options: StackOptions, opened: Opened): Promise<{ url: string; pid(): number }> {
  const { inputs, passwords } = options
  const start = {
    binary: options.natsBinary,
    conf: inputs.conf,
    passwords,
    storeDir: join(options.dataDir, 'nats'),
    onLine: logTo(options.dataDir, 'nats-server'),
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
  const common = {
    natsUrl,
    password: options.passwords['gateway'] ?? '',
    policyFile: inputs.policyFile,
    topologyFile: inputs.topologyFile,
    keysFile: await storedKeys(dataDir, inputs.topology),
    dataDir,
  }
  return Promise.all(
    options.httpPorts.map(async ({ port, asked }, index) => {
      const name = `gateway-${index + 1}`
      const gateway = { ...common, name, onLine: logTo(dataDir, name) }
      const { running, httpPort } = await startOnSomePort(gateway, port, asked)
      const again = (): Promise<Running> => startGatewayProcess({ ...gateway, httpPort })
      const kept = opened.add(
        keepRunning(name, running, again, { say: options.say, restarted: options.changed }),
      )
      return { httpUrl: gatewayUrl(httpPort), pid: () => kept.pid() }
    }),
  )
}

/** A port that was free a moment ago may be taken by now; unless it was asked for, another one will do. */
async function startOnSomePort(
  gateway: Omit<GatewayOptions, 'httpPort'>,
  port: number,
  asked: boolean,
): Promise<{ running: Running; httpPort: number }> {
  let httpPort = port
  for (let left = portTriesMax; left > 0; left--) {
    const started = await startReadyGateway({ ...gateway, httpPort })
    if (started.type === 'ready') return { running: started.gateway, httpPort }
    if (started.type === 'ended') throw new GatewayEnded(gateway.name, started.code, started.lastWords)
    if (asked) break
    httpPort = await freePort(0)
  }
  throw new GatewayEnded(gateway.name, exitCodes.failed, `port ${httpPort} is taken`)
}

async function openWorkers(options: StackOptions, place: WorkerPlace, opened: Opened): Promise<string[]> {
  return Promise.all(
    demoWorkers(options.credentials).map(async ({ credential, program }) => {
      const name = credential.actor
      const log = logTo(options.dataDir, name)
      const start = () => startWorker(credential, program, place, log)
      opened.add(keepRunning(name, await start(), start, { say: options.say, restarted: () => undefined }))
      return name
    }),
  )
}

const portTriesMax = 5

/** A child's output goes to a file of its own, anew at each start of `sluice dev`. */
function logTo(dataDir: string, name: string): (line: string) => void {
  const folder = join(dataDir, 'logs')
  mkdirSync(folder, { recursive: true })
  const file = createWriteStream(join(folder, `${name}.log`))
  file.on('error', () => undefined)
  return (line) => void file.write(`${line}\n`)
}
