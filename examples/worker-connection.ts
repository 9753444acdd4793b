import { connect, headers, type Msg, type NatsConnection } from '@nats-io/transport-node'

/** How the work on one job ended; the output is JSON. */
export type Outcome = { readonly status: 'ok' | 'error'; readonly output: unknown }

/** A connection with `SLUICE_WORKER_URL`, `_USER`, `_PASSWORD`, `_INBOX_PREFIX`: an ordinary NATS client, nothing of Sluice in it. */
export function connectWorker(): Promise<NatsConnection> {
  return connect({
    servers: setting('URL'),
    user: setting('USER'),
    pass: setting('PASSWORD'),
    inboxPrefix: setting('INBOX_PREFIX'),
    name: setting('NAME'),
    maxReconnectAttempts: -1,
  })
}

/** Publishes a result. The three echoed headers prove that it is about this very attempt under these very limits. */
export function answer(connection: NatsConnection, job: Msg, outcome: Outcome): void {
  const echoed = headers()
  for (const key of ['Sluice-Attempt', 'Sluice-Result-Token', 'Sluice-Constraints-Hash'])
    echoed.set(key, header(job, key))
  echoed.set('Sluice-Status', outcome.status)
  const id = header(job, 'Sluice-Job')
  connection.publish(`result.${setting('NAME')}.${id}`, JSON.stringify(outcome.output), { headers: echoed })
  // Ids only: what a job says and what came out of it has no place in a log.
  console.log(`${id} attempt ${header(job, 'Sluice-Attempt')} ${outcome.status}`)
}

/** A job that did not come from the gate as it is: not done, and not answered, because an answer might end the true one. */
export function refuse(job: Msg, why: string): void {
  console.log(`${header(job, 'Sluice-Job') || 'no job'} refused: ${why}`)
}

/** A header of a dispatched message, empty if it is not there. */
export function header(job: Msg, key: string): string {
  return job.headers?.get(key) ?? ''
}

/** What the agent wants done: the `payload` of its job, as it wrote it; empty if it wrote none. */
export function payloadOf(job: Msg): Record<string, unknown> {
  const { payload } = job.json<{ payload?: unknown }>()
  return typeof payload === 'object' && payload !== null ? (payload as Record<string, unknown>) : {}
}

/** `SLUICE_WORKER_<name>`; a worker that is not told where it works does not start. */
export function setting(name: string): string {
  const value = process.env[`SLUICE_WORKER_${name}`]
  if (value === undefined || value === '') throw new Error(`SLUICE_WORKER_${name} is not set`)
  return value
}
