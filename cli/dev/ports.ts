import { createServer } from 'node:net'

/** A free port on loopback: the wanted one if it is free, else any. Port 0 is no wish. */
export async function freePort(wanted: number): Promise<number> {
  return (await bind(wanted)) ?? (await bind(0)) ?? wanted
}

/** Whether nobody listens on this port of loopback. */
export async function isFree(port: number): Promise<boolean> {
  return (await bind(port)) !== undefined
}

function bind(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen(port, '127.0.0.1', () => {
      const address = server.address()
      const bound = typeof address === 'object' && address !== null ? address.port : undefined
      server.close(() => resolve(bound))
    })
  })
}
