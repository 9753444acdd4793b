import { levelOf } from '../../audit/approval.ts'
import type { AuditRecord, RecordData } from '../../audit/record.ts'
import { lacking } from '../../policy/ballot.ts'
import type { Io } from '../io.ts'
import { noticeSubject } from '../subjects.ts'
import { countingVotes } from './entitled.ts'

/** What can be heard about an approval on `approvals.notify.<event>.<job>`. */
type NoticeName = 'parked' | 'voted' | 'claimed' | 'reminded' | 'escalated' | 'resolved' | 'expired'

/**
 * Tells whoever listens what became of an approval: who asks for what kind of thing and until when, never the payload and never
 * what a person wrote. The record comes first and `id` is its name: a redelivery may say it again, and who missed it reads the list.
 */
export function tellApprovers(io: Io, { id, data }: AuditRecord): void {
  const event = noticeName(data)
  const { approval, resolution } = data
  if (event === undefined || approval === undefined) return
  const escalated = approval.escalations?.findLast(({ escalated_at }) => escalated_at !== undefined)
  const notice = {
    id,
    event,
    job_id: data.job_id,
    trace_id: data.trace_id,
    topic: data.topic,
    tenant: data.tenant,
    actor: data.actor.id,
    state: data.state.to,
    rule_id: data.decision.rule_id,
    level: levelOf(approval),
    requested_at: approval.requested_at,
    expires_at: approval.expires_at,
    demands: approval.demands,
    votes: approval.votes.map(({ by, decision, at }) => ({ by, decision, at })),
    ...(data.state.to === 'PARKED'
      ? { lacks: lacking(approval.demands, countingVotes(io.topology, data), io.topology, levelOf(approval)) }
      : {}),
    ...(approval.claim === undefined
      ? {}
      : { claim: { by: approval.claim.by, until: approval.claim.until } }),
    ...(event === 'escalated' && escalated !== undefined ? { escalated_to: escalated.to } : {}),
    ...(event === 'resolved' && resolution !== undefined
      ? { resolution: { decision: resolution.decision, by: resolution.by, at: resolution.at } }
      : {}),
  }
  io.bus.publish(noticeSubject(event, data.job_id), JSON.stringify(notice))
}

function noticeName({ event, state }: RecordData): NoticeName | undefined {
  switch (event) {
    case 'parked':
    case 'voted':
    case 'claimed':
    case 'reminded':
    case 'escalated':
      return event
    case 'expired':
      return state.from === 'PARKED' ? event : undefined
    case 'approved':
    case 'rejected':
    case 'denied':
    case 'throttled':
    case 'cancelled':
      return state.from === 'PARKED' ? 'resolved' : undefined
    case 'allowed':
    case 'joined':
    case 'retried':
    case 'succeeded':
    case 'quarantined':
    case 'released':
    case 'dropped':
    case 'failed':
    case 'timed_out':
      return undefined
  }
}
