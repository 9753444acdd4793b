import { nuid, type MsgHdrs, type NatsConnection } from '@nats-io/transport-node'

import { parent } from './children.ts'
import { topic } from './job-bytes.ts'
import { connectAs } from './login.ts'
import type { Constants, GatewayWord, Login } from './protocol.ts'

/**
 * The least that a gate with evidence can do: take a job from the intake stream, write the record, write the dispatch, both
 * compare-and-set, acknowledge. It decides nothing; what it writes has the same bytes as a governed job's, but they
 * are constants. None of the gateway's own code runs here.
 */
export type BareArgument = Login & { constants: Constants; stream: string; consumer: string }

const inFlightMax = 256
const pullAgainAt = inFlightMax >> 2
const idDigits = 25

const { argument, say } = parent<BareArgument, never, GatewayWord>()
const connection = await connectAs(argument)
run(connection, argument)
await connection.flush()
say({ type: 'ready' })

function run(nc: NatsConnection, { constants, stream, consumer }: BareArgument): void {
  const record = Buffer.from(constants.record)
  const expectNone = 'Nats-Expected-Last-Subject-Sequence: 0\r\n'
  const recordHeaders = Buffer.from(`NATS/1.0\r\n${expectNone}\r\n`)
  const others = constants.headers.filter(([name]) => !name.startsWith('Nats-'))
  const lines = others.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  const dispatchHead = `NATS/1.0\r\n${lines}${expectNone}Nats-Msg-Id: `
  const put = publisher(nc)
  let inFlight = 0
  let asked = 0

  const inbox = `${argument.inboxPrefix}.${nuid.next()}`
  const pull = (): void => {
    const batch = inFlightMax - inFlight - asked
    if (batch < pullAgainAt) return
    asked += batch
    nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, JSON.stringify({ batch }), { reply: inbox })
  }
  const handle = async (reply: string, body: Uint8Array): Promise<void> => {
    const job = `default.s${(reply.split('.').at(-4) ?? '').padStart(idDigits, '0')}`
    await put(`audit.${job}`, record, recordHeaders)
    const headers = Buffer.from(`${dispatchHead}${job}.1\r\n\r\n`)
    await put(`gov.dispatch.helpdesk.${topic}.${job}.1`, body, headers)
    nc.publish(reply)
    inFlight--
    pull()
  }
  nc.subscribe(inbox, {
    callback: (_error, message) => {
      const { reply } = message
      if (reply === undefined || reply === '') return
      asked--
      inFlight++
      handle(reply, message.data).catch((error: unknown) => say({ type: 'failed', why: String(error) }))
    },
  })
  pull()
}

/** Pipelined appends over one reply inbox, with headers that are bytes already. */
function publisher(
  nc: NatsConnection,
): (subject: string, body: Uint8Array, headers: Uint8Array) => Promise<void> {
  const waiting = new Map<string, { resolve: () => void; reject: (error: Error) => void }>()
  const inbox = `${argument.inboxPrefix}.${nuid.next()}.`
  let counter = 0
  nc.subscribe(`${inbox}*`, {
    callback: (_error, message) => {
      const key = message.subject.slice(inbox.length)
      const entry = waiting.get(key)
      waiting.delete(key)
      const answer = message.data.length === 0 ? { error: 'no stream' } : message.json<{ error?: unknown }>()
      if (answer.error === undefined) entry?.resolve()
      else entry?.reject(new Error(JSON.stringify(answer.error)))
    },
  })
  return (subject, body, bytes) =>
    new Promise((resolve, reject) => {
      const key = String(counter++)
      waiting.set(key, { resolve, reject })
      // The client only calls `encode`, so that is all our headers have to have.
      const headers = { encode: () => bytes } as unknown as MsgHdrs
      nc.publish(subject, body, { reply: inbox + key, headers })
    })
}
