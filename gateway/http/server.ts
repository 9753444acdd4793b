import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import { createAdaptorServer } from '@hono/node-server'
import type { Hono } from 'hono'
import type { Config } from '../config/config.ts'
import { createApp } from './app.ts'
import type { HttpDeps, ReadyCheck } from './route.ts'
import { openCertificate, type Certificate } from './tls.ts'
import type { Io } from '../io.ts'
import { isLoopbackAddress } from './loopback.ts'
import { openTokens, type Tokens } from './tokens.ts'

export type HttpServer = {
  readonly url: string
  /** Reads tokens and certificate now, changed or not. */
  reload(): Promise<void>
  close(): Promise<void>
}

/** How long a caller may take to say what it wants; a test has less patience. */
export type HttpPatience = {
  readonly headersTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly keepAliveTimeoutMs: number
  /** How often the server looks who is too late. */
  readonly lookEveryMs: number
}

const usualPatience: HttpPatience = {
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  keepAliveTimeoutMs: 5_000,
  lookEveryMs: 2_000,
}
const headerBytesMax = 16_384
const connectionsMax = 5_000
/** Requests that are still being answered when the server closes have this long. */
const drainMaxMs = 5_000

/** Listens where the configuration says; rejects when it cannot, for instance because the port is taken. */
export async function openHttp(io: Io, deps: HttpDeps, patience = usualPatience): Promise<HttpServer> {
  const { http, profile, tokensFile } = io.config
  // The configuration refuses this already; an open door without a lock is worth two looks.
  if (profile === 'dev' && !isLoopbackAddress(http.host))
    throw new Error(`profile dev takes calls from anybody and listens on loopback only, not on ${http.host}`)
  const tokens = tokensFile === undefined ? undefined : await openTokens(tokensFile, io.topology, io.log)
  const certificate = http.tls === undefined ? undefined : await openCertificate(http.tls, io.log)
  for (const { name, detail } of remarks(io.config)) io.log.warn({ [name]: detail }, 'http')
  const checks = (): readonly ReadyCheck[] => [...remarks(io.config), ...followed(tokens, certificate)]
  const ready = (): readonly ReadyCheck[] => [...deps.ready(), ...checks()]
  const server = serverOf(createApp(io, { ...deps, ready }, tokens), certificate, patience)
  const port = await listen(server, http).catch((error: unknown) => {
    tokens?.stop()
    certificate?.stop()
    throw error
  })
  server.on('error', (err) => io.log.error({ err }, 'http server'))
  const scheme = certificate === undefined ? 'http' : 'https'
  return {
    url: `${scheme}://${http.host.includes(':') ? `[${http.host}]` : http.host}:${port}`,
    reload: async () => {
      await tokens?.reload()
      await certificate?.reload()
    },
    close: async () => {
      tokens?.stop()
      certificate?.stop()
      await close(server)
    },
  }
}

/** What somebody who set this up should be told of it. */
function remarks({ profile, http, tokensFile }: Config): readonly ReadyCheck[] {
  if (profile === 'dev') return []
  const clear = http.tls === undefined && !isLoopbackAddress(http.host)
  const [said] = [
    ...(tokensFile === undefined ? ['no tokens file: only the health routes are served'] : []),
    ...(tokensFile !== undefined && clear
      ? [`insecure: tokens cross the network in clear on ${http.host}`]
      : []),
  ]
  return said === undefined ? [] : [{ name: 'http', ok: true, detail: said }]
}

function followed(tokens: Tokens | undefined, certificate: Certificate | undefined): readonly ReadyCheck[] {
  return [
    ...(tokens === undefined ? [] : [{ name: 'tokens', ok: true, detail: tokens.detail() }]),
    ...(certificate === undefined ? [] : [{ name: 'certificate', ok: true, detail: certificate.detail() }]),
  ]
}

function serverOf(app: Hono, certificate: Certificate | undefined, patience: HttpPatience): Server {
  const limits = {
    headersTimeout: patience.headersTimeoutMs,
    requestTimeout: patience.requestTimeoutMs,
    keepAliveTimeout: patience.keepAliveTimeoutMs,
    connectionsCheckingInterval: patience.lookEveryMs,
    maxHeaderSize: headerBytesMax,
  }
  const common = { fetch: app.fetch, overrideGlobalObjects: false }
  const server =
    certificate === undefined
      ? createAdaptorServer({ ...common, createServer, serverOptions: limits })
      : createAdaptorServer({
          ...common,
          createServer: createTlsServer,
          // A handshake is the first thing that can be drawn out.
          serverOptions: { ...limits, ...certificate.options, handshakeTimeout: patience.headersTimeoutMs },
        })
  certificate?.serve(server as TlsServer)
  const http = server as Server
  http.maxConnections = connectionsMax
  return http
}

async function listen(server: Server, { port, host }: Config['http']): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : port
}

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  const late = setTimeout(() => server.closeAllConnections(), drainMaxMs)
  await closed
  clearTimeout(late)
}
