import { createHmac } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { levelOf } from '../audit/approval.ts'
import type { JobEvent, Opened } from '../audit/event.ts'
import { isNamed, parseJobId, type JobId } from '../policy/job-id.ts'
import type { Position } from './chain.ts'
import { deny } from './decide.ts'
import type { DecidedEvent } from './decided-event.ts'
import type { Io } from './io.ts'
import { currentTenantKey, type TenantKey } from './config/keys.ts'
import { BusError, type Stored } from './bus/message.ts'
import { askedSubject } from './subjects.ts'

type Parked = Extract<JobEvent, { readonly event: 'parked' }>
type Joined = Extract<JobEvent, { readonly event: 'joined' }>

/** Who has claimed a request writes its record at once; whoever has not after this long has died. */
const claimedForMs = 60_000
const lookEveryMs = 20
const looksMax = 50
const conflictsMax = 20

/**
 * The last gate before a person is asked: the same request of the same agent, which waits already or was rejected a moment ago, is
 * not asked again, and nobody fills the queue for all the others. Only jobs that would be parked pass here.
 */
export async function beforeParking(
  io: Io,
  opened: Opened,
  body: Uint8Array,
  event: Parked,
): Promise<DecidedEvent | Joined> {
  // Who names a request says himself which ones are the same.
  if (isNamed(opened.job_id)) return withRoom(io, opened, event)
  const subject = askedSubject(
    opened.tenant,
    fingerprint(currentTenantKey(io.keys, opened.tenant), opened, body),
  )
  for (let attempt = 0; attempt < conflictsMax; attempt++) {
    const claim = await io.bus.last('KV_gov_asked', subject)
    const first = claim === undefined ? undefined : await askedFirst(io, opened, claim)
    const instead = first === undefined ? undefined : answeredBefore(io, first, event)
    if (instead !== undefined) return instead
    const room = withRoom(io, opened, event)
    if (room.event !== 'parked' || claimant(claim) === opened.job_id) return room
    const appended = await io.bus.append(subject, opened.job_id, { expect: claim?.sequence ?? 0 })
    if (appended.type === 'stored') return room
    if (appended.type === 'refused') throw new BusError(`a request cannot be claimed: ${appended.detail}`)
  }
  throw new BusError('a request is claimed again and again')
}

/**
 * The request under the tenant's key: equal for equal bytes of one agent on one topic, and to be guessed by nobody. It has a key
 * of its own, so that it says nothing about any job hash.
 */
export function fingerprint(
  { key }: TenantKey,
  { actor, topic }: Pick<Opened, 'actor' | 'topic'>,
  body: Uint8Array,
): string {
  const own = createHmac('sha256', key).update('sluice request fingerprint').digest()
  return createHmac('sha256', own).update(`${actor.id}\0${topic}\0`).update(body).digest('hex')
}

function claimant(claim: Stored | undefined): JobId | undefined {
  return claim === undefined ? undefined : parseJobId(Buffer.from(claim.body).toString())
}

/** The job that asked first, as it is now; undefined if it is this one, or if whoever claimed the request died before it was a job. */
async function askedFirst(io: Io, opened: Opened, claim: Stored): Promise<Position | undefined> {
  const first = claimant(claim)
  if (first === undefined || first === opened.job_id) return undefined
  for (let looks = 0; looks < looksMax; looks++) {
    const last = await io.chain.last(first)
    if (!isOnItsWay(last) || io.nowMs() - claim.timeMs >= claimedForMs) return last
    await sleep(lookEveryMs)
  }
  throw new BusError('the same request is being parked right now: this one comes again')
}

/** Claimed, and not parked yet: it may be from one moment to the next. An approved job that waits for room is past that. */
function isOnItsWay(last: Position | undefined): boolean {
  if (last === undefined) return true
  const { state, resolution } = last.record.data
  return state.to === 'THROTTLED' && resolution === undefined
}

/** What the first one's fate means for this one; undefined when a person must be asked. */
function answeredBefore(
  io: Io,
  { record }: Position,
  { decision, evidence }: Parked,
): DecidedEvent | Joined | undefined {
  const { data } = record
  if (data.state.to === 'PARKED') return { event: 'joined', joined: data.job_id, decision, evidence }
  const { resolution } = data
  if (data.state.to !== 'REJECTED' || resolution === undefined) return undefined
  const agoMs = io.nowMs() - Date.parse(record.time)
  if (agoMs >= io.config.approvals.denialCacheSec * 1_000) return undefined
  const note = resolution.note === '' ? 'without a note' : `"${resolution.note}"`
  return deny(
    io,
    'sluice.rejected-before',
    `${resolution.by} rejected the same request at ${record.time}: ${note}`,
  )
}

/** The job has its place in the count from here on, so that many at once do not all see the last one free. */
function withRoom(io: Io, opened: Opened, event: Parked): DecidedEvent {
  const { pending, config } = io
  const { job_id: job, tenant, actor } = opened
  if (pending.has(job)) return event
  const { perTenantMax, perAgentMax } = config.approvals
  const full = (what: string, bound: string): DecidedEvent =>
    deny(io, 'sluice.queue-full', `${what} has as many jobs waiting for a person as ${bound} allows`)
  if (pending.ofAgent(tenant, actor.id) >= perAgentMax)
    return full(`agent ${actor.id}`, 'limits.approvals_per_agent_max')
  if (pending.ofTenant(tenant) >= perTenantMax)
    return full(`tenant ${tenant}`, 'limits.approvals_per_tenant_max')
  pending.note({ job, waits: { tenant, agent: actor.id, level: levelOf(event.approval) } })
  return event
}
