import { headers, type Msg, type NatsConnection } from '@nats-io/transport-node'

import type { TestNats } from '../helpers/nats-server.ts'
import type { Chance } from './chance.ts'
import type { Work } from './load.ts'
import { reconnecting } from './patience.ts'

/** One job as a worker got it, from the core pool's subject or from the pull pool's consumer. */
export type Received = { readonly job: string; readonly attempt: number; readonly pool: 'helpdesk' | 'exec' }

const fetchEveryMs = 200
const batch = 64
const workMsMax = 200

/** Workers of both pools. They outlive every gateway, note what they get and answer each job once. */
export async function startWorkers(
  nats: TestNats,
  chance: Chance,
): Promise<{ readonly received: readonly Received[] }> {
  const received: Received[] = []
  for (const user of ['helpdesk-1', 'helpdesk-2']) {
    const connection = await nats.connect(user, reconnecting)
    connection.subscribe('worker.helpdesk.>', {
      queue: 'helpdesk',
      callback: (error, job) => {
        if (error === null) take(connection, user, 'helpdesk', job)
      },
    })
    await connection.flush()
  }
  const exec = await nats.connect('exec-1', reconnecting)
  const inbox = '_INBOX_exec-1.jobs'
  exec.subscribe(inbox, {
    callback: (error, job) => {
      if (error !== null || job.headers?.has('Sluice-Job') !== true) return
      job.respond('')
      take(exec, 'exec-1', 'exec', job)
    },
  })
  const fetch = setInterval(() => {
    const request = JSON.stringify({ batch, expires: fetchEveryMs * 1_000_000 })
    if (exec.isClosed()) clearInterval(fetch)
    else exec.publish('gov.API.CONSUMER.MSG.NEXT.WORK.exec', request, { reply: inbox })
  }, fetchEveryMs)
  await exec.flush()

  function take(connection: NatsConnection, user: string, pool: Received['pool'], job: Msg): void {
    const attempt = Number(job.headers?.last('Sluice-Attempt'))
    received.push({ job: job.headers?.last('Sluice-Job') ?? '', attempt, pool })
    const { work } = job.json<{ payload: { work: Work } }>().payload
    if (work === 'silent') return
    const failed = work === 'error' || (work === 'fail-once' && attempt === 1)
    setTimeout(() => answer(connection, user, job, failed), chance.between(0, workMsMax))
  }
  return { received }
}

function answer(connection: NatsConnection, user: string, job: Msg, failed: boolean): void {
  if (connection.isClosed()) return
  const echoed = headers()
  for (const name of ['Sluice-Attempt', 'Sluice-Result-Token', 'Sluice-Constraints-Hash'])
    echoed.set(name, job.headers?.last(name) ?? '')
  echoed.set('Sluice-Status', failed ? 'error' : 'ok')
  connection.publish(`result.${user}.${job.headers?.last('Sluice-Job') ?? ''}`, '{}', { headers: echoed })
}
