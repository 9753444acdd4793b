import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { servingWords } from '../serving-words.ts'
import { type Running } from './keep-running.ts'
import { spawnLeashed } from './leash.ts'
import { privateEnv } from './private-env.ts'
import { projectRoot } from './project.ts'

export type GatewayOptions = {
  name: string
  natsUrl: string
  password: string
  httpPort: number
  policyFile: string
  topologyFile: string
  keysFile: string
  dataDir: string
  onLine: (line: string) => void
}

const readyWithinMs = 30_000
const askEveryMs = 25
const lastWordsMax = 20

/** Starts a gateway as a process of its own: `sluice serve` in profile dev. */
export function startGatewayProcess(options: GatewayOptions): Promise<Running> {
  const flags = {
    profile: 'dev',
    gateway: options.name,
    'nats-url': options.natsUrl,
    'nats-user': 'gateway',
    'http-host': '127.0.0.1',
    'http-port': String(options.httpPort),
    policy: options.policyFile,
    topology: options.topologyFile,
    keys: options.keysFile,
  }
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value])
  // A password on the command line could be read by everybody on the machine.
  const env: NodeJS.ProcessEnv = { ...privateEnv(process.env), SLUICE_NATS_PASSWORD: options.password }
  return spawnLeashed({
    command: process.execPath,
    args: [join(projectRoot, 'dist', 'cli', 'main.js'), 'serve', ...args],
    env,
    // Not in the caller's folder, where a sluice.yaml for another gateway may stand.
    cwd: options.dataDir,
    onLine: options.onLine,
  })
}

/** A gateway that serves, or how it ended: with an exit code, or not at all within the time it has. */
export type Started =
  | { type: 'ready'; gateway: Running }
  | { type: 'port-taken' }
  | { type: 'ended'; code: number; lastWords: string }

/**
 * Starts a gateway and waits until it is ready. It says itself that it listens: whoever else had taken the port would
 * answer on it just as well.
 */
export async function startReadyGateway(options: GatewayOptions): Promise<Started> {
  const lines: string[] = []
  let listens = false
  const gateway = await startGatewayProcess({
    ...options,
    onLine: (line) => {
      listens ||= line.startsWith(servingWords)
      lines.push(line)
      if (lines.length > lastWordsMax) lines.shift()
      options.onLine(line)
    },
  })
  let code: number | undefined
  void gateway.exited.then((ended) => (code = ended))
  const deadline = performance.now() + readyWithinMs
  while (code === undefined && performance.now() < deadline) {
    if (listens && (await isReady(options.httpPort))) return { type: 'ready', gateway }
    await sleep(askEveryMs)
  }
  await gateway.stop()
  const lastWords = lines.join('\n')
  if (lastWords.includes('EADDRINUSE')) return { type: 'port-taken' }
  return { type: 'ended', code: code ?? 1, lastWords }
}

/** Where a gateway of ours is found. */
export const gatewayUrl = (httpPort: number): string => `http://127.0.0.1:${httpPort}`

async function isReady(httpPort: number): Promise<boolean> {
  const answer = await fetch(`${gatewayUrl(httpPort)}/readyz`).catch(() => undefined)
  await answer?.body?.cancel()
  return answer?.ok === true
}
