import { sign, verify, type KeyObject } from 'node:crypto'
import { canonicalJson, jobHash, sha256Hex } from '../policy/digest.ts'
import { canonicalText } from './canonical-text.ts'
import { growTree, leafHash, rootFromPath } from './merkle.ts'

/**
 * A ticket proves offline, with the gateway's public key, that a dispatch came from the gate as it is. Dispatches of one
 * event-loop turn share one Ed25519 signature over their Merkle root, because a signature for each halves the throughput.
 */

/** What a ticket vouches for; the same words as the headers of a dispatched message. */
export type Dispatched = {
  readonly job: string
  readonly topic: string
  readonly attempt: string
  readonly decision: string
  readonly job_hash: string
  readonly constraints_hash: string
  readonly deadline: string
}

export type TicketProblem =
  | 'missing-header'
  | 'malformed-ticket'
  | 'unknown-key'
  | 'bad-signature'
  | 'altered-tenant'
  | 'altered-body'
  | 'altered-constraints'
  | 'past-deadline'

const context = 'sluice-ticket-v1\n'
const hashBytes = 32

/** Names a public key without saying it: the first 16 hex digits of the hash of its DER form. */
export function keyId(publicKey: KeyObject): string {
  return sha256Hex(publicKey.export({ type: 'spki', format: 'der' })).slice(0, 16)
}

/** One ticket for each dispatch, in order: `v1.<key id>.<index>.<size>.<path>.<signature>`. */
export function signTickets(dispatches: readonly Dispatched[], privateKey: KeyObject, id: string): string[] {
  const tree = growTree(dispatches.map((dispatch) => leafHash(canonicalText(dispatch))))
  const signature = sign(null, signedBytes(tree.root), privateKey).toString('base64url')
  return dispatches.map((_dispatch, index) => {
    const path = Buffer.concat(tree.paths[index] ?? []).toString('base64url')
    return `v1.${id}.${index}.${dispatches.length}.${path}.${signature}`
  })
}

export type Message = { header(name: string): string; readonly body: Uint8Array }

/**
 * What is wrong with a dispatched message, or nothing. `keys` are the gateway's public keys by id; `nowMs` is the worker's clock.
 * A worker that ignores whatever has no valid ticket cannot be used round the gate.
 */
export function verifyDispatch(
  message: Message,
  keys: ReadonlyMap<string, KeyObject>,
  nowMs: number,
): TicketProblem | undefined {
  const dispatched = dispatchedFrom(message)
  if (Object.values(dispatched).some((value) => value === '')) return 'missing-header'
  const problem = verifyTicket(message.header('Sluice-Ticket'), dispatched, keys)
  if (problem !== undefined) return problem
  // The job id begins with it, so it needs no place of its own in what is signed.
  const tenant = dispatched.job.slice(0, dispatched.job.indexOf('.'))
  if (message.header('Sluice-Tenant') !== tenant) return 'altered-tenant'
  const salt = Buffer.from(message.header('Sluice-Job-Salt'), 'hex')
  if (jobHash(salt, dispatched.topic, message.body) !== dispatched.job_hash) return 'altered-body'
  if (!constraintsMatch(message.header('Sluice-Constraints'), dispatched.constraints_hash))
    return 'altered-constraints'
  return Date.parse(dispatched.deadline) < nowMs ? 'past-deadline' : undefined
}

/** Why a worker does not do what it was handed. */
export type Refused = TicketProblem | 'replayed'

/**
 * The same for a worker that also remembers what it has taken: a true dispatch counts once. `seen` is the worker's own memory
 * of job and attempt, each until its deadline, after which the ticket says no by itself; begin with an empty map.
 */
export function admitDispatch(
  message: Message,
  keys: ReadonlyMap<string, KeyObject>,
  seen: Map<string, number>,
  nowMs: number,
): Refused | undefined {
  const problem = verifyDispatch(message, keys, nowMs)
  if (problem !== undefined) return problem
  // The oldest stand first. One whose deadline is late keeps some behind it for a while; to look at all each time is dear.
  for (const [name, untilMs] of seen) {
    if (untilMs >= nowMs) break
    seen.delete(name)
  }
  const name = `${message.header('Sluice-Job')} ${message.header('Sluice-Attempt')}`
  if (seen.has(name)) return 'replayed'
  seen.set(name, Date.parse(message.header('Sluice-Deadline')))
  return undefined
}

function dispatchedFrom(message: Message): Dispatched {
  return {
    job: message.header('Sluice-Job'),
    topic: message.header('Sluice-Topic'),
    attempt: message.header('Sluice-Attempt'),
    decision: message.header('Sluice-Decision'),
    job_hash: message.header('Sluice-Job-Hash'),
    constraints_hash: message.header('Sluice-Constraints-Hash'),
    deadline: message.header('Sluice-Deadline'),
  }
}

function verifyTicket(
  ticket: string,
  dispatched: Dispatched,
  keys: ReadonlyMap<string, KeyObject>,
): TicketProblem | undefined {
  const [version, id, index, size, path, signature, ...rest] = ticket.split('.')
  if (version !== 'v1' || id === undefined || path === undefined || !signature || rest.length > 0)
    return 'malformed-ticket'
  const key = keys.get(id)
  if (key === undefined) return 'unknown-key'
  const bytes = Buffer.from(path, 'base64url')
  if (bytes.length % hashBytes !== 0) return 'malformed-ticket'
  const hashes = Array.from({ length: bytes.length / hashBytes }, (_, at) =>
    bytes.subarray(at * hashBytes, (at + 1) * hashBytes),
  )
  const leaf = leafHash(canonicalText(dispatched))
  const root = rootFromPath(leaf, Number(index), Number(size), hashes)
  if (root === undefined) return 'malformed-ticket'
  return verify(null, signedBytes(root), key, Buffer.from(signature, 'base64url'))
    ? undefined
    : 'bad-signature'
}

/** The header's JSON is what the hash was made of, or, for a job without constraints, the empty object. */
function constraintsMatch(text: string, hash: string): boolean {
  try {
    const value: unknown = JSON.parse(text)
    const empty = JSON.stringify(value) === '{}'
    return sha256Hex(canonicalJson(empty ? null : value)) === hash
  } catch {
    return false
  }
}

const signedBytes = (root: Buffer): Buffer => Buffer.concat([Buffer.from(context), root])
