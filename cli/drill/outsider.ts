import { setImmediate as nextTurn } from 'node:timers/promises'

import { connect, createInbox, headers, type Msg, type MsgHdrs } from '@nats-io/transport-node'

import type { Credential } from '../dev/credentials.ts'

/** A message as somebody outside the gateway gets it. */
export type Received = { readonly body: string; header(name: string): string }

/** Somebody outside the gateway, with an ordinary NATS client and no more than the own credential. */
export type Outsider = {
  readonly name: string
  ask<T>(subject: string, body: string, headers?: Readonly<Record<string, string>>): Promise<T>
  publish(subject: string, body: string, headers?: Readonly<Record<string, string>>): Promise<void>
  /** Tries to publish; the server's words if it refuses, undefined if it lets the message pass. */
  refused(subject: string): Promise<string | undefined>
  /** The next message of the approvers' consumer, which is thereby seen; undefined if none waits. */
  nextApproval(): Promise<Received | undefined>
  /** The newest message of AUDIT on a subject, and its sequence. */
  newestRecord(subject: string): Promise<(Received & { readonly sequence: number }) | undefined>
  close(): Promise<void>
}

const timeoutMs = 5_000
const api = 'gov.API'

/** Connects with a credential of ready.json. */
export async function connectOutsider(url: string, credential: Credential): Promise<Outsider> {
  const { user, password, inbox_prefix: inboxPrefix } = credential
  const connection = await connect({ servers: url, user, pass: password, inboxPrefix, name: `drill ${user}` })
  const refusals = new Map<string, string>()
  const listen = async (): Promise<void> => {
    for await (const status of connection.status()) {
      const text = status.type === 'error' ? status.error.message : ''
      const subject = /Publish to "([^"]+)"/i.exec(text)?.[1]
      if (subject !== undefined) refusals.set(subject, text)
    }
  }
  void listen() // Ends with the connection.
  const settle = async (): Promise<void> => {
    // The server says no before it answers a flush, and the client hands it on some turns later.
    for (let turn = 0; turn < 3; turn++) {
      await connection.flush()
      await nextTurn()
    }
  }
  return {
    name: user,
    ask: async <T>(subject: string, body: string, more?: Readonly<Record<string, string>>) => {
      const reply = await connection.request(subject, body, { timeout: timeoutMs, headers: headersOf(more) })
      return reply.json<T>()
    },
    publish: async (subject, body, more) => {
      connection.publish(subject, body, { headers: headersOf(more) })
      await connection.flush()
    },
    refused: async (subject) => {
      connection.publish(subject, 'drill')
      await settle()
      return refusals.get(subject)
    },
    nextApproval: async () => {
      // A stored message comes under the subject it was stored with, so it needs an inbox that is subscribed to as a whole.
      const inbox = createInbox(inboxPrefix)
      const answers = connection.subscribe(inbox, { max: 1, timeout: timeoutMs })
      const body = JSON.stringify({ batch: 1, no_wait: true })
      connection.publish(`${api}.CONSUMER.MSG.NEXT.APPROVALS.approvers`, body, { reply: inbox })
      for await (const message of answers) {
        if (message.headers?.has('Sluice-Job') !== true) return undefined
        message.respond('+ACK')
        return received(message)
      }
      return undefined
    },
    newestRecord: async (subject) => {
      const message = await connection.request(`${api}.DIRECT.GET.AUDIT.${subject}`, '', {
        timeout: timeoutMs,
      })
      const stored = received(message)
      const sequence = Number(stored.header('Nats-Sequence'))
      return sequence > 0 ? { ...stored, sequence } : undefined
    },
    close: () => connection.close(),
  }
}

function headersOf(values: Readonly<Record<string, string>> = {}): MsgHdrs {
  const made = headers()
  for (const [name, value] of Object.entries(values)) made.set(name, value)
  return made
}

function received(message: Msg): Received {
  return { body: message.string(), header: (name) => message.headers?.get(name) ?? '' }
}
