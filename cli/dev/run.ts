import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { version } from '../../gateway/version.ts'
import { exitCodes } from '../exit-codes.ts'
import { banner } from './banner.ts'
import { credentialsOf } from './credentials.ts'
import { claimDataDir, storedPasswords, writeSecret } from './data-dir.ts'
import { gatewayUrl } from './gateways.ts'
import { readInputs, type Inputs } from './inputs.ts'
import { findNats, type FoundNats } from './nats-binary.ts'
import { type DevOptions } from './options.ts'
import { freePort, isFree } from './ports.ts'
import { GatewayEnded, Opened, startStack } from './stack.ts'
import { stopAsked } from './stop-asked.ts'

const defaultHttpPort = 8081
const say = (line: string): void => console.error(line)

/** Starts everything, says what listens where, and stays until it is asked to end. Returns the exit code. */
export async function run(options: DevOptions): Promise<number> {
  const stop = stopAsked(process.env)
  const read = await readInputs(options.policy, process.cwd())
  if (!read.ok) {
    for (const problem of read.problems) say(problem)
    return exitCodes.badConfiguration
  }
  const claimed = await claimDataDir(options.dataDir, process.cwd())
  if (!claimed.ok) {
    say(claimed.problem)
    return exitCodes.failed
  }
  const { dataDir } = claimed
  const readyFile = join(dataDir.path, 'ready.json')
  const opened = new Opened()
  try {
    const search = await findNats(process.env, say)
    if (!search.ok) {
      for (const line of search.lines) say(line)
      return exitCodes.unreachable
    }
    const notes = claimed.inUse.map(
      (other) => `${other} is in use by another sluice dev; this one has a folder of its own`,
    )
    // Whichever comes first: a person may lose patience while things start.
    const ended = await Promise.race([
      start(options, read.inputs, search.nats, dataDir.path, readyFile, opened, notes),
      stop.then(() => undefined),
    ])
    if (ended !== undefined) return ended
    await stop
    say('ending: gateways, workers and nats-server')
    return exitCodes.ok
  } finally {
    await opened.close()
    await rm(readyFile, { force: true })
    await dataDir.release()
  }
}

/** Undefined when everything is up, else the exit code. */
async function start(
  options: DevOptions,
  inputs: Inputs,
  nats: FoundNats,
  dataDir: string,
  readyFile: string,
  opened: Opened,
  notes: string[],
): Promise<number | undefined> {
  const ports = await choosePorts(options, dataDir)
  if (!ports.ok) {
    say(ports.problem)
    return exitCodes.failed
  }
  const passwords = await storedPasswords(dataDir, inputs.topology)
  const credentials = credentialsOf(inputs.topology, passwords)
  let writeReady = (): void => undefined
  let stack
  try {
    stack = await startStack(
      {
        inputs,
        dataDir,
        passwords,
        credentials,
        natsBinary: nats.binary,
        natsPort: ports.nats,
        httpPorts: ports.http,
        demo: options.demo,
        say,
        changed: () => writeReady(),
      },
      opened,
    )
  } catch (error) {
    if (!(error instanceof GatewayEnded)) throw error
    say(error.message)
    return error.code
  }
  const { nats: server, gateways, workers } = stack
  const ready = () => ({
    ready: true,
    nats_url: server.url,
    nats_pid: server.pid(),
    http_url: gateways[0]?.httpUrl,
    data_dir: dataDir,
    pid: process.pid,
    policy_snapshot: inputs.policy.snapshot,
    gateways: gateways.map((gateway) => ({ pid: gateway.pid(), http_url: gateway.httpUrl })),
    credentials,
  })
  writeReady = () =>
    void writeSecret(readyFile, ready()).catch((error: unknown) => say(`ready.json: ${String(error)}`))
  await writeSecret(readyFile, ready())
  await writeSecret(join(dataDir, portsFile), { nats: Number(new URL(server.url).port) })
  const facts = {
    version,
    natsUrl: server.url,
    natsVersion: nats.version,
    natsFrom: nats.from,
    policyFile: inputs.policyFile,
    rules: inputs.policy.rules.length,
    snapshot: inputs.policy.snapshot,
    failMode: inputs.failMode,
    gateways: gateways.map(({ httpUrl }) => httpUrl),
    workers,
    dataDir,
    agent: credentials.find(({ role, publish }) => role === 'agent' && publish === 'job.'),
    notes: [...notes, ...otherPort(options, gateways[0]?.httpUrl ?? '')],
  }
  if (options.json) {
    for (const note of facts.notes) say(note)
    console.log(JSON.stringify(ready()))
  } else console.log(banner(facts))
  return undefined
}

const portsFile = 'ports.json'

type Ports =
  | { ok: true; nats: number; http: { port: number; asked: boolean }[] }
  | { ok: false; problem: string }

/** A port that was asked for must be free; one that nobody asked for gives way. */
async function choosePorts(options: DevOptions, dataDir: string): Promise<Ports> {
  for (const [flag, port] of [
    ['--http-port', options.httpPort],
    ['--nats-port', options.natsPort],
  ] as const) {
    if (port !== undefined && !(await isFree(port)))
      return { ok: false, problem: `${flag} ${port}: this port is taken` }
  }
  const http = [
    { port: await freePort(options.httpPort ?? defaultHttpPort), asked: options.httpPort !== undefined },
  ]
  while (http.length < options.gateways) http.push({ port: await freePort(0), asked: false })
  return { ok: true, nats: await natsPort(options, dataDir), http }
}

function otherPort(options: DevOptions, httpUrl: string): string[] {
  if (options.httpPort !== undefined || httpUrl === gatewayUrl(defaultHttpPort)) return []
  return [`port ${defaultHttpPort} is taken, the api is on ${new URL(httpUrl).port}`]
}

/** The port of the last start if it is free, so that clients that are still set up for it find their server again. */
async function natsPort(options: DevOptions, dataDir: string): Promise<number> {
  if (options.natsPort !== undefined) return options.natsPort
  const text = await readFile(join(dataDir, portsFile), 'utf8').catch(() => '{}')
  const last = (JSON.parse(text) as { nats?: number }).nats
  return last !== undefined && (await isFree(last)) ? last : -1
}
