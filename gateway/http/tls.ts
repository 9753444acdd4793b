import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Server } from 'node:https'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import type { Config } from '../config/config.ts'
import type { Log } from '../log.ts'
import { watchFiles } from '../config/watched-files.ts'

type TlsFiles = NonNullable<Config['http']['tls']>

/** The certificate in use, from files that are followed. */
export type Certificate = {
  readonly options: SecureContextOptions
  /** What a reader of `/readyz?verbose` should know. */
  detail(): string
  /** Connections that come after a change get the new certificate; those that are there go on. */
  serve(server: Server): void
  reload(): Promise<void>
  stop(): void
}

/** Opens a certificate and follows it. */
export async function openCertificate(files: TlsFiles, log: Log): Promise<Certificate> {
  let server: Server | undefined
  let stale = false
  let current: Pair
  const load = async (): Promise<void> => {
    const pair = await readCertificate(files)
    current = pair
    stale = false
    server?.setSecureContext(pair.options)
  }
  const reload = (): Promise<void> =>
    load().then(
      () => log.info({ validTo: current.validTo }, 'certificate read'),
      (err: unknown) => {
        // One of the two files may simply be later than the other.
        stale = true
        log.error({ err }, 'certificate refused, the last good one stays')
      },
    )
  const watched = await watchFiles([files.certFile, files.keyFile], reload)
  try {
    current = await readCertificate(files)
  } catch (error) {
    watched.stop()
    throw error
  }
  return {
    options: current.options,
    detail: () =>
      `valid until ${current.validTo}${stale ? '; stale: the newest files do not fit together' : ''}`,
    serve: (to) => (server = to),
    reload,
    stop: () => watched.stop(),
  }
}

type Pair = { readonly options: SecureContextOptions; readonly validTo: string }

/** Reads both files and looks whether they belong together; throws without quoting them when they do not. */
export async function readCertificate({ certFile, keyFile }: TlsFiles): Promise<Pair> {
  const [cert, key] = await Promise.all([readFile(certFile), readFile(keyFile)])
  const options = { cert, key, minVersion: 'TLSv1.2' as const }
  try {
    createSecureContext(options)
    return { options, validTo: new Date(new X509Certificate(cert).validTo).toISOString() }
  } catch (error) {
    const code = (error as { code?: string }).code ?? 'unreadable'
    throw new Error(`${certFile} and ${keyFile} are not a certificate with its key (${code})`)
  }
}
