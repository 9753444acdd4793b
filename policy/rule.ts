import type { Constraints } from './constraints.ts'
import type { Merge } from './merge.ts'
import type { PayloadCondition, Range } from './payload.ts'
import type { RuleIndex } from './rule-index.ts'
import type { TimeWindow } from './time-window.ts'

/** The words a policy file may write after `decision:`. */
export type DecisionWord = 'allow' | 'deny' | 'require_approval' | 'throttle' | 'allow_with_constraints'

/** What kind of principal published a job, as the server authenticated it. */
export type ActorType = 'agent' | 'human' | 'service'

/** Tags a job must have: at least one of `any`, each of `all`, none of `none`; `empty` means no tags whatever. */
export type TagCondition = {
  readonly any?: readonly string[]
  readonly all?: readonly string[]
  readonly none?: readonly string[]
  readonly empty?: true
}

/** What one label must be. */
export type LabelCondition =
  | { readonly key: string; readonly kind: 'one_of'; readonly values: readonly string[] }
  | { readonly key: string; readonly kind: 'prefix'; readonly prefix: string }
  | { readonly key: string; readonly kind: 'present'; readonly present: boolean }

/** What a rule asks of a job; every part that is present must hold, an absent part asks nothing. Lists are sorted. */
export type Condition = {
  readonly topics?: readonly string[]
  readonly tenants?: readonly string[]
  readonly actors?: readonly string[]
  readonly actorTypes?: readonly ActorType[]
  readonly capabilities?: readonly string[]
  readonly riskTags?: TagCondition
  readonly labels?: readonly LabelCondition[]
  readonly payload?: readonly PayloadCondition[]
  readonly size?: Range
  readonly time?: TimeWindow
}

/** `match` must hold and `unless` must not. */
export type Cover = { readonly match: Condition; readonly unless: Condition | null }

/** What separates the counters of one throttle rule from each other. */
export type ThrottleKeyPart = 'tenant' | 'actor' | 'topic' | `label:${string}`

/**
 * A limit of `rate` grants in any span of `perMs`, at most `burst` of them at once. A job waits at most `maxWaitMs` for its
 * slot; with `onLimit: 'deny'` it does not wait at all (and `maxWaitMs` is 0).
 */
export type ThrottleTerms = {
  readonly ruleId: string
  readonly rate: number
  readonly perMs: number
  readonly burst: number
  readonly maxWaitMs: number
  readonly onLimit: 'wait' | 'deny'
  readonly keyedBy: readonly ThrottleKeyPart[]
}

/** Some of the people, by what the configuration calls them; `anyone` has no names. */
export type People = {
  readonly kind: 'anyone' | 'groups' | 'roles' | 'persons'
  readonly names: readonly string[]
}

/** Who may approve, and how many of them it takes to approve or to reject. The first threshold reached decides. */
export type Threshold = {
  readonly name?: string
  readonly from: People
  readonly approve: number
  readonly deny: number
}

export type Excluded = 'submitter' | 'agent_owner' | 'policy_author'

/** Who hears of an approval that is still open so long after the job was parked. It gives nobody the right to decide. */
export type Escalation = { readonly to: People; readonly afterMs: number }

/** How much care an approval takes: from `high` on a note, at `critical` also both hashes and two persons. */
export type ApprovalLevel = 'normal' | 'high' | 'critical'

/**
 * What a rule asks of an approval. `exclude` always has the submitter: nobody approves an own job. What can be absent is absent
 * where the file says nothing of it, so that a policy keeps its snapshot when the language learns a word.
 */
export type ApprovalTerms = {
  readonly expiresInMs: number
  readonly useWithinMs: number
  readonly exclude: readonly Excluded[]
  readonly thresholds: readonly Threshold[]
  readonly remindAfterMs?: number
  readonly waitAtLeastMs?: number
  readonly level?: Exclude<ApprovalLevel, 'normal'>
  readonly escalations?: readonly Escalation[]
}

/** Detector ids or classes whose findings a matching job's output must be kept back for, or redacted for. */
export type OutputTerms = { readonly quarantine: readonly string[]; readonly redact: readonly string[] }

/** One rule, checked and complete; `reason` is never empty. */
export type Rule = Cover & {
  readonly id: string
  readonly decision: DecisionWord
  readonly reason: string
  readonly description?: string
  readonly owner?: string
  readonly floor: boolean
  /** True for rules of an overlay: they may only tighten, so a job that no other rule covers stays denied. */
  readonly overlay: boolean
  readonly constraints: Constraints | null
  readonly throttle: ThrottleTerms | null
  readonly approval: ApprovalTerms | null
  readonly output: OutputTerms | null
}

/** Tags that the policy adds to every job that the conditions cover. */
export type Derivation = Cover & { readonly add: readonly string[] }

/** Risk tiers from the gravest down; a job's tier is the first that has one of its tags. */
export type RiskTier = {
  readonly tier: 'critical' | 'high' | 'medium' | 'low'
  readonly tags: ReadonlySet<string>
}

/** A loaded policy. `snapshot` is the hash of its meaning (not of comments or order), `sourceHash` of its text. */
export type Policy = {
  readonly snapshot: string
  readonly sourceHash: string
  readonly ruleCount: number
  /** Sorted by id in byte order. */
  readonly rules: readonly Rule[]
  readonly derivations: readonly Derivation[]
  readonly riskTiers: readonly RiskTier[]
  /** Finds the rules and derivations that cover a job; made from the lists above and from nothing else. */
  readonly index: RuleIndex
  /** Says what matching rules come to together. */
  readonly merge: Merge
}
