import { createPublicKey, type KeyObject } from 'node:crypto'
import { keyId, signTickets, type Dispatched } from '../audit/ticket.ts'

/** Signs dispatches, all of one event-loop turn with one signature. */
export type Tickets = {
  readonly keyId: string
  /** The public key that workers verify with, SPKI in PEM. */
  readonly publicKey: string
  sign(dispatch: Dispatched): Promise<string>
}

type Waiting = { readonly dispatch: Dispatched; resolve(ticket: string): void; reject(error: unknown): void }

export function createTickets(privateKey: KeyObject): Tickets {
  const publicKey = createPublicKey(privateKey)
  const id = keyId(publicKey)
  let waiting: Waiting[] = []
  const signAll = (): void => {
    const batch = waiting
    waiting = []
    try {
      const tickets = signTickets(
        batch.map(({ dispatch }) => dispatch),
        privateKey,
        id,
      )
      for (const [index, one] of batch.entries()) one.resolve(tickets[index] as string)
    } catch (error) {
      for (const one of batch) one.reject(error)
    }
  }
  return {
    keyId: id,
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    sign: (dispatch) =>
      new Promise((resolve, reject) => {
        if (waiting.push({ dispatch, resolve, reject }) === 1) setImmediate(signAll)
      }),
  }
}
