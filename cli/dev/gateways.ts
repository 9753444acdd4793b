import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { type Running } from './keep-running.ts'
import { spawnLeashed } from './leash.ts'
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
const askEveryMs = 50

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
  const env: NodeJS.ProcessEnv = { ...process.env, SLUICE_NATS_PASSWORD: options.password }
  delete env['SLUICE_CONFIG']
  return spawnLeashed({
    command: process.execPath,
    args: [join(projectRoot, 'dist', 'cli', 'main.js'), 'serve', ...args],
    env,
    // Not in the caller's folder, where a sluice.yaml for another gateway may stand.
    cwd: options.dataDir,
    onLine: options.onLine,
  })
}

/** Waits until the gateway says it is ready. The exit code if it ended instead, undefined if it never got ready. */
export async function gatewayReady(gateway: Running, httpUrl: string): Promise<'ready' | number | undefined> {
  let code: number | undefined
  void gateway.exited.then((ended) => (code = ended))
  const deadline = performance.now() + readyWithinMs
  while (performance.now() < deadline) {
    if (code !== undefined) return code
    const answer = await fetch(`${httpUrl}/readyz`).catch(() => undefined)
    await answer?.body?.cancel()
    if (answer?.ok === true) return 'ready'
    await sleep(askEveryMs)
  }
  return undefined
}
