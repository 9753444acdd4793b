import { setTimeout as sleep } from 'node:timers/promises'

import type { Config } from '../../gateway/config/config.ts'
import type { GatewayOrder } from '../helpers/gateway-main.ts'
import { startGatewayProcess, type GatewayProcess } from '../helpers/gateway-process.ts'

/** Several gateways, each started again whenever it ends. */
export type Replicas = {
  /** SIGKILL, as soon as there is somebody to kill. */
  kill(index: number): Promise<void>
  /** SIGSTOP, and SIGCONT after so long. */
  pause(index: number, forMs: number): Promise<void>
  readonly kills: number
  /** Those that ended without being killed by us. */
  readonly falls: readonly string[]
  /** Those that did not start, in their last words. */
  readonly failedStarts: readonly string[]
  stop(): Promise<void>
}

const againAfterMs = 100

export async function startReplicas(
  configs: readonly Config[],
  how: Omit<GatewayOrder, 'config'> = {},
): Promise<Replicas> {
  const current: (GatewayProcess | undefined)[] = configs.map(() => undefined)
  const falls: string[] = []
  const failedStarts: string[] = []
  const killed = new Set<number>()
  let kills = 0
  let running = true

  const keep = async (index: number, config: Config, started: () => void): Promise<void> => {
    while (running) {
      try {
        const gateway = await startGatewayProcess(config, how)
        current[index] = gateway
        started()
        const code = await gateway.exited
        if (running && !killed.has(gateway.pid)) falls.push(`${config.gateway} ended with ${code}`)
      } catch (error) {
        // Without a server a gateway does not start; it is tried again, as a supervisor would.
        failedStarts.push(error instanceof Error ? error.message : String(error))
      }
      current[index] = undefined
      await sleep(againAfterMs)
    }
  }
  const loops: Promise<void>[] = []
  await Promise.all(
    configs.map((config, index) => new Promise<void>((resolve) => loops.push(keep(index, config, resolve)))),
  )
  return {
    kill: async (index) => {
      while (running) {
        const gateway = current[index]
        if (gateway === undefined) {
          await sleep(againAfterMs / 10)
          continue
        }
        current[index] = undefined
        kills++
        killed.add(gateway.pid)
        return gateway.kill9()
      }
    },
    pause: async (index, forMs) => {
      const gateway = current[index]
      gateway?.pause()
      await sleep(forMs)
      gateway?.resume()
    },
    get kills() {
      return kills
    },
    falls,
    failedStarts,
    stop: async () => {
      running = false
      await Promise.all(current.map(async (gateway) => gateway?.stop()))
      await Promise.all(loops)
    },
  }
}
