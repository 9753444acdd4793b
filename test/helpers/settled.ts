import { setImmediate as nextTurn } from 'node:timers/promises'

import { type NatsConnection } from '@nats-io/transport-node'

/** The server says no before it answers a flush, and the client hands it on some turns later. */
export async function settled(connection: NatsConnection): Promise<void> {
  for (let turn = 0; turn < 3; turn++) {
    await connection.flush()
    await nextTurn()
  }
}
