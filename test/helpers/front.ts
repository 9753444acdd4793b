import type { Config } from '../../gateway/config/config.ts'
import type { HttpDeps } from '../../gateway/http/route.ts'
import { openHttp, type HttpPatience, type HttpServer } from '../../gateway/http/server.ts'
import type { Io } from '../../gateway/io.ts'
import { createLog } from '../../gateway/log.ts'
import { createMetrics } from '../../gateway/metrics.ts'
import { demoTopology } from './topology.ts'

/**
 * The HTTP server of a gateway in profile standard, with nothing behind it: what is let in finds that the bus is away (503).
 */
export async function openFront(
  config: Partial<Config>,
  log: { write(line: string): void },
  patience?: HttpPatience,
): Promise<HttpServer> {
  const io = {
    config: { profile: 'standard', ...config },
    topology: await demoTopology(),
    log: createLog('info', 'test', log),
    metrics: createMetrics(),
    nowMs: Date.now,
    policy: (): object => ({ snapshot: 'none' }),
    bus: { connected: () => false },
  }
  const deps = { ready: () => [], queries: { caughtUp: () => true }, measure: () => Promise.resolve() }
  return openHttp(io as unknown as Io, deps as unknown as HttpDeps, patience)
}
