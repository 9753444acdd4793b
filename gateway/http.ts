import type { Server } from 'node:http'
import { createAdaptorServer } from '@hono/node-server'
import { createApp, type HttpDeps } from './http-app.ts'
import { isLoopbackAddress } from './http-guard.ts'
import type { Io } from './io.ts'

export type { ReadyCheck } from './http-health.ts'

export type HttpServer = { readonly url: string; close(): Promise<void> }

const headersTimeoutMs = 10_000
const requestTimeoutMs = 30_000
const keepAliveTimeoutMs = 5_000
const headerBytesMax = 16_384
/** Requests that are still being answered when the server closes have this long. */
const drainMaxMs = 5_000

/** Listens where the configuration says; rejects when it cannot, for instance because the port is taken. */
export async function openHttp(io: Io, deps: HttpDeps): Promise<HttpServer> {
  const { host, port } = io.config.http
  // The configuration refuses this already; an open door without a lock is worth two looks.
  if (io.config.profile === 'dev' && !isLoopbackAddress(host))
    throw new Error(`profile dev takes calls from anybody and listens on loopback only, not on ${host}`)
  const app = createApp(io, deps)
  const server = createAdaptorServer({
    fetch: app.fetch,
    overrideGlobalObjects: false,
    serverOptions: {
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: keepAliveTimeoutMs,
      maxHeaderSize: headerBytesMax,
    },
  }) as Server
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  server.on('error', (err) => io.log.error({ err }, 'http server'))
  const address = server.address()
  const listening = typeof address === 'object' && address !== null ? address.port : port
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${listening}`,
    close: () => close(server),
  }
}

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  const late = setTimeout(() => server.closeAllConnections(), drainMaxMs)
  await closed
  clearTimeout(late)
}
