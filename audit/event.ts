import type { Constraints } from '../policy/constraints.ts'
import type { ApprovalRequirement, Decision } from '../policy/evaluate.ts'
import type { JobId } from '../policy/job-id.ts'
import type { ApprovalLevel, OutputTerms, People } from '../policy/rule.ts'

/** Who submitted: what the server authenticated, never what the payload says. */
export type Actor = {
  readonly type: 'agent'
  readonly id: string
  readonly auth: 'nats' | 'http'
  /** Over HTTP: whose token it was; an agent may have several. */
  readonly principal?: string
}

/** What stays the same through a job's whole life. */
export type Opened = {
  readonly job_id: JobId
  readonly tenant: string
  readonly topic: string
  readonly trace_id: string
  readonly actor: Actor
  readonly job_hash: string
  /** Which of the tenant's hash keys the salt is derived from; erasing that key erases the commitment. */
  readonly hash_key: string
  readonly payload: { readonly bytes: number }
  readonly received_at: string
  readonly job_deadline?: string
}

/** Everything the evaluator read, so that a replay gives the same decision. */
export type Evidence = {
  readonly policy: { readonly source_hash: string }
  readonly evaluator: { readonly name: 'sluice'; readonly version: string }
  readonly input?: {
    readonly risk_tags: { readonly declared: readonly string[]; readonly derived: readonly string[] }
    readonly labels: Readonly<Record<string, string>>
    readonly capability?: string
    readonly requires?: readonly string[]
    /** How payload and time conditions came out; the payload itself is never recorded. */
    readonly truths?: Readonly<Record<string, boolean>>
  }
  readonly facts?: {
    readonly now_ms: number
    readonly granted: readonly string[]
    readonly fail_mode: 'closed' | 'open'
  }
}

export type Dispatch = {
  readonly pool: string
  readonly attempt: number
  readonly attempts_max: number
  readonly deadline: string
}
/** What a parked job waits for: stored with it, so that a later policy or group change does not alter what was asked. */
export type Approval = {
  readonly requirement: string
  readonly rules: readonly string[]
  readonly requested_at: string
  readonly expires_at: string
  /** How long an approval that has to wait for room may still be used. */
  readonly use_within_ms: number
  readonly exclude: readonly string[]
  readonly demands: ApprovalRequirement['demands']
  readonly votes: readonly Resolution[]
  /** Who said last to be on it: a word to colleagues, never a lock. */
  readonly claim?: Claim
  /** Absent on records from before there were levels: those are normal. */
  readonly level?: ApprovalLevel
  /** Before that an approval is too early; a rejection never is. */
  readonly approve_from?: string
  readonly remind_at?: string
  readonly reminded_at?: string
  readonly escalations?: readonly {
    readonly to: People
    readonly at: string
    readonly escalated_at?: string
  }[]
}
export type Claim = {
  readonly by: string
  readonly via: 'http' | 'nats'
  readonly at: string
  /** Until then nobody else claims it; anybody may still decide. */
  readonly until: string
  readonly note: string
}
export type Throttle = {
  readonly rule_id: string
  readonly not_before: string
  /** False: the limit had no room within `max_wait`, so the job only waits for its own end. */
  readonly reserved: boolean
  /** The rule limits how many jobs run at once, and that many do; else a rate is what the job waits for. */
  readonly waits_for?: 'place'
}
export type Resolution = {
  readonly decision: 'approve' | 'reject'
  readonly by: string
  readonly via: 'http' | 'nats'
  readonly at: string
  readonly note: string
  /** `client`: the approver named the job hash and the snapshot; `server`: the parked record's own were taken. */
  readonly binding: 'client' | 'server'
  /** Limits that the approver added; they can only narrow. */
  readonly constraints?: Constraints
}
export type Result = {
  readonly worker: string
  readonly attempt: number
  readonly status: 'ok' | 'error'
  readonly action: 'pass' | 'redact' | 'quarantine'
  readonly findings: readonly {
    readonly detector: string
    readonly class: string
    readonly count: number
    readonly action: string
  }[]
  readonly detectors: string
  /** HMAC over the released (or withheld) output under the job's salt. */
  readonly output_hash: string
  readonly output_bytes: number
}

/** Until when a person may look at an output that was kept back; then the job ends without it. */
export type Quarantine = { readonly expires_at: string }

type Decided = {
  readonly decision: Decision
  readonly evidence: Evidence
  /** What the policy asks of the output beyond what the detectors do anyway. */
  readonly output?: OutputTerms
}

/** A fact in the past tense and the evidence it carries. */
export type JobEvent =
  | ({
      readonly event: 'allowed'
      readonly dispatch: Dispatch
      readonly places?: readonly string[]
    } & Decided)
  | ({ readonly event: 'parked'; readonly approval: Approval } & Decided)
  /** The same request of the same agent waits for a person as this job. */
  | ({ readonly event: 'joined'; readonly joined: JobId } & Decided)
  | ({
      readonly event: 'throttled'
      readonly throttle: Throttle
      readonly resolution?: Resolution
      readonly approval?: Approval
    } & Decided)
  /** `throttle`: a limit without room, whose rule would rather refuse than wait, and from when on it has some. */
  | ({ readonly event: 'denied'; readonly resolution?: Resolution; readonly throttle?: Throttle } & Decided)
  | ({
      readonly event: 'approved'
      readonly resolution: Resolution
      readonly approval?: Approval
      readonly dispatch: Dispatch
      readonly places?: readonly string[]
    } & Decided)
  | { readonly event: 'voted' | 'claimed' | 'reminded' | 'escalated'; readonly approval: Approval }
  | { readonly event: 'rejected'; readonly resolution: Resolution; readonly approval: Approval }
  | { readonly event: 'expired'; readonly limit: string }
  | {
      readonly event: 'retried'
      readonly limit: string
      readonly dispatch: Dispatch
      readonly result?: Result
    }
  | { readonly event: 'succeeded'; readonly result: Result }
  | { readonly event: 'quarantined'; readonly result: Result; readonly quarantine: Quarantine }
  | { readonly event: 'failed'; readonly limit: string; readonly result?: Result }
  | { readonly event: 'timed_out'; readonly limit: string }
  | { readonly event: 'cancelled'; readonly by: string; readonly note: string }
