import { setImmediate as nextTurn } from 'node:timers/promises'

import { type NatsConnection } from '@nats-io/transport-node'

/** Publishes on each subject and returns those that the server refused, each with the server's own words. */
export async function refusedPublishes(
  connection: NatsConnection,
  subjects: readonly string[],
): Promise<Map<string, string>> {
  const refused = new Map<string, string>()
  const listen = async (): Promise<void> => {
    for await (const status of connection.status()) {
      if (status.type !== 'error') continue
      const subject = /Publish to "([^"]+)"/i.exec(status.error.message)?.[1]
      if (subject !== undefined) refused.set(subject, status.error.message)
    }
  }
  void listen() // Ends with the connection.
  for (const subject of subjects) connection.publish(subject, 'attempt')
  await settled(connection)
  return refused
}

/**
 * Subscribes to each and returns those that the server refused, as they were written: a subject, and with a queue
 * group after a space, as nats.conf has it.
 */
export async function refusedSubscriptions(
  connection: NatsConnection,
  wanted: readonly string[],
): Promise<string[]> {
  const refused: string[] = []
  const subscriptions = wanted.map((text) => {
    const [subject = '', queue] = text.split(' ')
    return connection.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error) => {
        if (error !== null) refused.push(text)
      },
    })
  })
  await settled(connection)
  for (const subscription of subscriptions) if (!subscription.isClosed()) subscription.unsubscribe()
  return refused
}

/** The server says no before it answers a flush, and the client hands it on some turns later. */
export async function settled(connection: NatsConnection): Promise<void> {
  for (let turn = 0; turn < 3; turn++) {
    await connection.flush()
    await nextTurn()
  }
}
