import { setImmediate as nextTurn } from 'node:timers/promises'

import { connect, headers, nkeyAuthenticator } from '@nats-io/transport-node'

import type { RoleCredential } from './nats-grants.ts'

/** A connection of one role that tries things and sees what the server makes of them. */
export type Probe = {
  readonly serverVersion: string
  /** Publishes on each subject; returns those that the server refused. */
  publish(subjects: readonly string[]): Promise<ReadonlySet<string>>
  /** Subscribes to each (a queue group stands after a space) and returns those that the server refused. */
  subscribe(wanted: readonly string[]): Promise<ReadonlySet<string>>
  /** Listens until `close`. */
  hear(wanted: string, heard: (subject: string) => void): void
  /** Publishes with somebody else's subject as the place for the answer. */
  reflect(ask: string, reply: string): void
  /** The answer to a question, in the own inbox; undefined if there is none in time. */
  ask(subject: string, headers?: Readonly<Record<string, string>>): Promise<string | undefined>
  /** Resolves when the server has dealt with everything so far. */
  settle(): Promise<void>
  close(): Promise<void>
}

const askTimeoutMs = 2_000

/**
 * Nothing of what is tried stays anywhere, even if it leaks: no stream stores a message that it must be another stream
 * to store, and no part of the JetStream API understands this body.
 */
const body = 'attempt'
const guard: Readonly<Record<string, string>> = { 'Nats-Expected-Stream': 'SLUICE_VERIFY' }

/** Connects once; throws the client's error if the server is not there or does not let the role in. */
export async function connectProbe(url: string, credential: RoleCredential): Promise<Probe> {
  const { user, password, nkey_seed: seed, inbox_prefix: inboxPrefix } = credential
  const connection = await connect({
    servers: url,
    name: `sluice nats verify ${user}`,
    inboxPrefix,
    ignoreClusterUpdates: true,
    reconnect: false,
    ...(seed === undefined
      ? { user, pass: password ?? '' }
      : { authenticator: nkeyAuthenticator(new TextEncoder().encode(seed)) }),
  })
  const refused = new Set<string>()
  const listen = async (): Promise<void> => {
    for await (const status of connection.status()) {
      const text = status.type === 'error' ? status.error.message : ''
      const subject = /Publish to "([^"]+)"/i.exec(text)?.[1]
      if (subject !== undefined) refused.add(subject)
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
  const listenTo = (wanted: string, callback: (error: Error | null, subject: string) => void) => {
    const [subject = '', queue] = wanted.split(' ')
    return connection.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, message) => callback(error, error === null ? message.subject : ''),
    })
  }
  return {
    serverVersion: connection.info?.version ?? '0.0.0',
    publish: async (subjects) => {
      refused.clear()
      for (const subject of subjects) connection.publish(subject, body, { headers: headersOf(guard) })
      await settle()
      return new Set(refused)
    },
    subscribe: async (wanted) => {
      const deaf = new Set<string>()
      const made = wanted.map((text) => listenTo(text, (error) => error !== null && deaf.add(text)))
      await settle()
      for (const subscription of made) if (!subscription.isClosed()) subscription.unsubscribe()
      return deaf
    },
    hear: (wanted, heard) => void listenTo(wanted, (error, subject) => error === null && heard(subject)),
    reflect: (ask, reply) => connection.publish(ask, '', { reply, headers: headersOf(guard) }),
    ask: async (subject, more) => {
      try {
        const options = { timeout: askTimeoutMs, ...(more === undefined ? {} : { headers: headersOf(more) }) }
        return (await connection.request(subject, '', options)).string()
      } catch {
        // Nobody there, or not allowed to ask: there is no answer.
        return undefined
      }
    },
    settle,
    close: () => connection.close(),
  }
}

function headersOf(values: Readonly<Record<string, string>>) {
  const made = headers()
  for (const [name, value] of Object.entries(values)) made.set(name, value)
  return made
}
