import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'

import type { Msg } from '@nats-io/transport-node'

import { admitDispatch, type Refused } from '../audit/ticket.ts'
import { header, setting } from './worker-connection.ts'

/** Whether the gate itself sent this job, for the first time and unaltered; else why not. */
export type TicketCheck = (job: Msg) => Promise<Refused | undefined>

const askAgainAfterMs = 1_000

/**
 * Takes the gateways' public keys from `SLUICE_WORKER_KEYS_URL` (a JSON Web Key Set), and takes them again when a ticket
 * names a key that is not among them: the gateways may have new ones.
 */
export async function openTicketCheck(): Promise<TicketCheck> {
  const url = setting('KEYS_URL')
  let keys = await fetchKeys(url)
  let askedAtMs = performance.now()
  const seen = new Map<string, number>()
  return async (job) => {
    const message = { header: (name: string) => header(job, name), body: job.data }
    const refused = admitDispatch(message, keys, seen, Date.now())
    if (refused !== 'unknown-key' || performance.now() - askedAtMs < askAgainAfterMs) return refused
    askedAtMs = performance.now()
    keys = await fetchKeys(url).catch(() => keys)
    return admitDispatch(message, keys, seen, Date.now())
  }
}

async function fetchKeys(url: string): Promise<ReadonlyMap<string, KeyObject>> {
  const answer = (await (await fetch(url)).json()) as { keys: (JsonWebKey & { kid: string })[] }
  return new Map(answer.keys.map((key) => [key.kid, createPublicKey({ key, format: 'jwk' })]))
}
