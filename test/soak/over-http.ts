import { connect } from 'node:net'

import type { Hostile } from './hostile.ts'
import type { Told } from './over-nats.ts'

/** Whoever reaches the port of a gateway: requests that are almost right, and bytes that are no request at all. */
export type OverHttp = {
  readonly act: () => Promise<void>
  readonly told: readonly Told[]
  /** Answers that no request may cause. */
  readonly failures: readonly string[]
  counts(): Readonly<Record<string, number>>
}

const timeoutMs = 10_000
const paths = [
  ...[
    '/api/v1/jobs',
    '/api/v1/jobs/x',
    '/api/v1/approvals',
    '/api/v1/approvals/a.b/approve',
    '/api/v1/traces/x',
  ],
  ...['/api/v1/control', '/api/v1/control/stop', '/api/v1/control/resume', '/api/v1/policy/evaluate'],
  ...['/api/v1/policy/explain', '/api/v1/policy/simulate', '/api/v1/policy/shadow', '/api/v1/keys'],
  ...[
    '/metrics',
    '/healthz',
    '/readyz?verbose',
    '/%2e%2e/%00',
    '/api/v1/jobs/__proto__',
    '//',
    '/api/v1/approvals?limit=-1',
  ],
] as const

export function overHttp(ports: readonly number[], evil: Hostile): OverHttp {
  const told: Told[] = []
  const failures: string[] = []
  const counts: Record<string, number> = {}
  const call = async (
    method: string,
    path: string,
    body: string | Uint8Array | undefined,
    type: string,
  ): Promise<void> => {
    const url = `http://127.0.0.1:${evil.pick(ports)}${path}`
    const asked = { method, headers: { 'content-type': type }, signal: AbortSignal.timeout(timeoutMs) }
    const answer = await fetch(url, body === undefined ? asked : { ...asked, body: Buffer.from(body) }).catch(
      () => undefined,
    )
    const text = await answer?.text().catch(() => '')
    if (answer?.status === 500) failures.push(`${method} ${path}: ${text}`)
    if (path !== '/api/v1/jobs' || answer?.status !== 202 || text === undefined) return
    const { job_id, state } = JSON.parse(text) as { job_id: string; state: string }
    told.push({ job: job_id, state, where: 'http' })
  }
  const acts: Readonly<Record<string, () => Promise<void>>> = {
    job: () => {
      const claim = `{"topic":"job.${evil.topic()}","payload":{"work":"ok"}}`
      return call('POST', '/api/v1/jobs', evil.often(0.6) ? claim : evil.job(), 'application/json')
    },
    request: () => {
      const method = evil.pick(['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS'])
      const type = evil.pick(['application/json', 'text/plain', 'application/json; charset=utf-16', ''])
      const body = method === 'GET' ? undefined : evil.often(0.5) ? evil.json() : evil.bytes()
      return call(method, evil.pick(paths), body, type)
    },
    bytes: () => raw(evil.pick(ports), evil.bytes()),
    broken: () => {
      const lines = [
        `${evil.pick(['GET', 'POST', 'get', '\u0000'])} ${evil.pick(paths)} HTTP/${evil.pick(['1.1', '1.0', '2', '9.9'])}`,
        `Host: ${evil.pick(['127.0.0.1', 'evil.example', ''])}`,
        `Content-Length: ${evil.pick(['5', '-1', '99999999999', 'x'])}`,
        ...(evil.often(0.3) ? ['Transfer-Encoding: chunked'] : []),
        ...(evil.often(0.2) ? [`X: ${'y'.repeat(20_000)}`] : []),
      ]
      return raw(evil.pick(ports), Buffer.from(`${lines.join('\r\n')}\r\n\r\n${evil.json().slice(0, 200)}`))
    },
  }
  return {
    told,
    failures,
    counts: () => counts,
    act: async () => {
      const name = evil.pick(['job', 'job', ...Object.keys(acts)])
      counts[name] = (counts[name] ?? 0) + 1
      await acts[name]?.()
    },
  }
}

const lingerMs = 200

/** Sends bytes to the port, half of them at first, and hangs up. */
async function raw(port: number, bytes: Uint8Array): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  const closed = new Promise<void>((resolve) => void socket.once('close', () => resolve()))
  socket.write(bytes.subarray(0, bytes.length >> 1))
  setTimeout(() => socket.end(bytes.subarray(bytes.length >> 1)), 5)
  setTimeout(() => socket.destroy(), lingerMs)
  await closed
}
