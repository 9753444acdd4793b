import { createInbox, type Msg, type NatsConnection } from '@nats-io/transport-node'

/** A pull consumer to ask: the subject of its NEXT call, and the inbox prefix that this user is allowed. */
export type Asked = { readonly next: string; readonly inboxPrefix: string }

/**
 * The next message of a pull consumer, or undefined if there is none within `waitMs` (0: right now). `request()` cannot do
 * this: it knows its answers by their subject, and a stored message comes with the subject it was stored under.
 */
export async function pullOne(
  connection: NatsConnection,
  asked: Asked,
  waitMs: number,
): Promise<Msg | undefined> {
  const inbox = createInbox(asked.inboxPrefix)
  const answers = connection.subscribe(inbox, { max: 1, timeout: waitMs + answerWithinMs })
  const body = waitMs === 0 ? { batch: 1, no_wait: true } : { batch: 1, expires: waitMs * 1_000_000 }
  connection.publish(asked.next, JSON.stringify(body), { reply: inbox })
  for await (const message of answers) {
    // Without a job it is a status: nothing there, or nothing came in time.
    return message.headers?.has('Sluice-Job') === true ? message : undefined
  }
  return undefined
}

const answerWithinMs = 5_000
