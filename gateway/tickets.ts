import { createPublicKey, type KeyObject } from 'node:crypto'
import { keyId, signTickets, type Dispatched } from '../audit/ticket.ts'
import { keyInUse, type Keys } from './config/keys.ts'

/** Signs dispatches, all of one event-loop turn with one signature. */
export type Tickets = {
  /** What workers verify with, oldest first. */
  readonly publicKeys: () => readonly TicketKey[]
  /** Keys that are on record from now on; no other is signed with. */
  readonly recorded: (ids: readonly string[]) => void
  sign(dispatch: Dispatched): Promise<string>
}

/** A public key of the gateways: its id, as tickets name it, from when it is used (RFC 3339), and the key itself. */
export type TicketKey = { readonly id: string; readonly from: string; readonly publicKey: KeyObject }

type Waiting = { readonly dispatch: Dispatched; resolve(ticket: string): void; reject(error: unknown): void }
type Signer = { readonly id: string; readonly privateKey: KeyObject; readonly publicKey: KeyObject }

/** `keys` are those of the file as it stands now. */
export function createTickets(keys: () => Keys, nowMs: () => number): Tickets {
  const onRecord = new Set<string>()
  const signers = new Map<KeyObject, Signer>()
  const signerOf = (privateKey: KeyObject): Signer => {
    const known = signers.get(privateKey)
    if (known !== undefined) return known
    const publicKey = createPublicKey(privateKey)
    const made = { id: keyId(publicKey), privateKey, publicKey }
    signers.set(privateKey, made)
    return made
  }
  const inUse = (): Signer => {
    const usable = keys().ticketKeys.filter(({ key }) => onRecord.has(signerOf(key).id))
    return signerOf(keyInUse(usable, nowMs()))
  }
  let waiting: Waiting[] = []
  const signAll = (): void => {
    const batch = waiting
    waiting = []
    try {
      const { id, privateKey } = inUse()
      const dispatches = batch.map(({ dispatch }) => dispatch)
      const tickets = signTickets(dispatches, privateKey, id)
      for (const [index, one] of batch.entries()) one.resolve(tickets[index] as string)
    } catch (error) {
      for (const one of batch) one.reject(error)
    }
  }
  return {
    publicKeys: () =>
      keys().ticketKeys.map(({ key, fromMs }) => {
        const { id, publicKey } = signerOf(key)
        return { id, from: new Date(fromMs).toISOString(), publicKey }
      }),
    recorded: (ids) => {
      for (const id of ids) onRecord.add(id)
    },
    sign: (dispatch) =>
      new Promise((resolve, reject) => {
        if (waiting.push({ dispatch, resolve, reject }) === 1) setImmediate(signAll)
      }),
  }
}

/** As it stands on record: the key in PEM (SPKI). */
export function recordedKey({ id, from, publicKey }: TicketKey): {
  readonly id: string
  readonly from: string
  readonly public_key: string
} {
  return { id, from, public_key: publicKey.export({ type: 'spki', format: 'pem' }).toString() }
}
