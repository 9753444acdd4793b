import { connect, type NatsConnection } from '@nats-io/transport-node'

import type { Login } from './protocol.ts'

/** Connects as this login says; a bench does not reconnect, because a broken connection spoils the figures. */
export function connectAs({ url, user, password, inboxPrefix }: Login): Promise<NatsConnection> {
  return connect({
    servers: url,
    inboxPrefix,
    reconnect: false,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { pass: password }),
  })
}
