import type { Finding } from './nats/doctor-server.ts'
import type { Io } from './io.ts'
import { auditControlSubject } from './subjects.ts'
import { recordedKey } from './tickets.ts'
import { version } from './version.ts'

/** What this gateway decides with stands on record before it decides anything. */
export async function recordStart(io: Io, accepted: readonly Finding[]): Promise<void> {
  const { policy, config } = io
  await note(io, 'sluice.gateway.start.v1', {
    gateway: config.gateway,
    version,
    fail_mode: config.failMode,
    fail_open_topics: config.failOpenTopics,
    decision_timeout_ms: config.decisionTimeoutMs,
    policy_snapshot: policy().snapshot,
    source_hash: policy().sourceHash,
    ...ticketKeys(io),
    accepted_findings: accepted.map(({ id, what }) => ({ id, what })),
  })
  io.tickets.recorded(io.tickets.publicKeys().map(({ id }) => id))
}

/** `ticket_key` is the one that is signed with now. */
function ticketKeys(io: Io): object {
  const keys = io.tickets.publicKeys().map(recordedKey)
  const now = new Date(io.nowMs()).toISOString()
  return { ticket_key: keys.findLast(({ from }) => from <= now) ?? keys[0], ticket_keys: keys }
}

/** A new key is on record before anything is signed with it. */
export async function recordKeys(io: Io): Promise<void> {
  const ids = io.tickets.publicKeys().map(({ id }) => id)
  const { gateway } = io.config
  await note(io, 'sluice.gateway.keys.v1', { gateway, ...ticketKeys(io) })
  io.tickets.recorded(ids)
  io.log.info({ keys: ids }, 'the key file was read again')
}

async function note(io: Io, type: string, data: object): Promise<void> {
  const body = JSON.stringify({
    specversion: '1.0',
    type,
    source: `urn:sluice:${io.config.gateway}`,
    time: new Date(io.nowMs()).toISOString(),
    data,
  })
  const appended = await io.bus.append(auditControlSubject, body)
  if (appended.type !== 'stored') throw new Error('AUDIT is full')
}
