import type { Constraints } from './constraints.ts'

/** The words a policy file may write after `decision:`. */
export type DecisionWord = 'allow' | 'deny' | 'require_approval' | 'throttle' | 'allow_with_constraints'

/** Tags a job must have: at least one of `any`, each of `all`, none of `none`; an absent part asks nothing. */
export type TagCondition = {
  readonly any?: readonly string[]
  readonly all?: readonly string[]
  readonly none?: readonly string[]
  /** True when the job must have no tags whatever (`risk_tags: []`). */
  readonly empty?: boolean
}

/** What a rule asks of a job; every part that is present must hold, an absent part asks nothing. */
export type Condition = {
  readonly topics?: readonly string[]
  readonly tenants?: readonly string[]
  readonly actors?: readonly string[]
  readonly capabilities?: readonly string[]
  readonly riskTags?: TagCondition
  readonly labels?: ReadonlyMap<string, string>
}

/** A limit of `rate` grants in any span of `perMs`; a job waits at most `maxWaitMs` for its slot. */
export type Throttle = {
  readonly ruleId: string
  readonly rate: number
  readonly perMs: number
  readonly maxWaitMs: number
}

/** What a rule asks of an approval. */
export type ApprovalTerms = { readonly expiresInMs: number }

/** One rule, checked and complete; `reason` is never empty. */
export type Rule = {
  readonly id: string
  readonly decision: DecisionWord
  readonly reason: string
  readonly description?: string
  readonly owner?: string
  readonly floor: boolean
  readonly match: Condition
  readonly unless: Condition | null
  readonly constraints: Constraints | null
  readonly throttle: Throttle | null
  readonly approval: ApprovalTerms | null
}

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
  readonly riskTiers: readonly RiskTier[]
}
