import { levelOf } from '../../audit/approval.ts'
import type { State } from '../../audit/lifecycle.ts'
import type { Approval, Resolution } from '../../audit/event.ts'
import type { AuditRecord } from '../../audit/record.ts'
import { lacking, type Lacking } from '../../policy/ballot.ts'
import type { Constraints } from '../../policy/constraints.ts'
import { parseJob, type Job } from '../../policy/job.ts'
import type { ApprovalLevel } from '../../policy/rule.ts'
import { countingVotes } from '../approvals/entitled.ts'
import type { Topology } from '../config/topology.ts'

/** What an approver decides about: what would run, who asks, why it is asked. */
export type ApprovalItem = {
  readonly job_id: string
  readonly job: {
    readonly id: string
    readonly topic: string
    readonly tenant: string
    readonly actor: string
    /** The job's own, as it would run; null when the job has none or waits no longer. */
    readonly payload: unknown
    readonly risk_tags?: readonly string[]
    readonly labels?: Readonly<Record<string, string>>
    readonly capability?: string
    readonly requires?: readonly string[]
  }
  readonly trace_id: string
  readonly state: State
  readonly reason: string
  readonly rule_id: string
  readonly risk_tier?: string
  readonly constraints: Constraints | null
  readonly job_hash: string
  readonly policy_snapshot: string
  readonly requested_at: string
  readonly expires_at: string
  /** What an approval takes: from `high` on a note, at `critical` also both hashes and two persons. */
  readonly level: ApprovalLevel
  /** Before that an approval is too early. */
  readonly approve_from?: string
  /** Whose word counts, and how many of them it takes, for each rule that asks. */
  readonly demands: Approval['demands']
  readonly votes: Approval['votes']
  /** How many more must approve, and which; absent once nobody can any more. */
  readonly lacks?: Lacking
  /** Who said last to be on it; anybody may decide all the same. */
  readonly claim?: NonNullable<Approval['claim']>
  readonly resolution?: Resolution
  /** When the wait ended; absent while it lasts. */
  readonly resolved_at?: string
}

/** An approval that somebody decided, or that ended otherwise. Its payload is gone. */
export function resolvedItem(record: AuditRecord): ApprovalItem {
  const { resolution } = record.data
  return { ...base(record, undefined), ...(resolution && { resolution }), resolved_at: record.time }
}

/** An approval that waits, with the bytes that would run; undefined if they are not there (yet). */
export function waitingItem(
  topology: Topology,
  record: AuditRecord,
  body: Uint8Array | undefined,
): ApprovalItem {
  const { approval } = record.data
  const item = base(record, body)
  if (approval === undefined) return item
  const votes = countingVotes(topology, record.data)
  return { ...item, lacks: lacking(approval.demands, votes, topology, item.level) }
}

function base(record: AuditRecord, body: Uint8Array | undefined): ApprovalItem {
  const { data } = record
  const { decision, approval } = data
  const parsed =
    body === undefined ? undefined : parseJob({ tenant: data.tenant, agent: data.actor.id }, data.topic, body)
  return {
    job_id: data.job_id,
    job: {
      id: data.job_id,
      topic: data.topic,
      tenant: data.tenant,
      actor: data.actor.id,
      ...(parsed?.ok === true ? shown(parsed.job) : { payload: null }),
    },
    trace_id: data.trace_id,
    state: data.state.to,
    reason: decision.reason,
    rule_id: decision.rule_id,
    ...(decision.risk_tier === undefined ? {} : { risk_tier: decision.risk_tier }),
    constraints: decision.constraints,
    job_hash: data.job_hash,
    policy_snapshot: decision.policy_snapshot,
    requested_at: approval?.requested_at ?? record.time,
    expires_at: approval?.expires_at ?? record.time,
    level: approval === undefined ? 'normal' : levelOf(approval),
    ...(approval?.approve_from === undefined ? {} : { approve_from: approval.approve_from }),
    demands: approval?.demands ?? [],
    votes: approval?.votes ?? [],
    ...(approval?.claim === undefined ? {} : { claim: approval.claim }),
  }
}

function shown(
  job: Job,
): Pick<ApprovalItem['job'], 'payload' | 'risk_tags' | 'labels' | 'capability' | 'requires'> {
  return {
    payload: job.payload ?? null,
    risk_tags: job.riskTags,
    labels: Object.fromEntries(job.labels),
    ...(job.capability === undefined ? {} : { capability: job.capability }),
    ...(job.requires === undefined ? {} : { requires: job.requires }),
  }
}
