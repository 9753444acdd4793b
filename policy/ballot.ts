import type { ApprovalRequirement } from './merge-approval.ts'
import type { ApprovalLevel, Threshold } from './rule.ts'

/** Who belongs to which group and has which role, as the configuration says it. */
export type Membership = {
  readonly groups: Readonly<Record<string, readonly string[]>>
  readonly roles: Readonly<Record<string, readonly string[]>>
}

/** One person's word; a person has one. */
export type Ballot = { readonly by: string; readonly decision: 'approve' | 'reject' }

type Demands = ApprovalRequirement['demands']

/** Whether this person's word counts towards any of the thresholds. */
export function mayVote(demands: Demands, person: string, membership: Membership): boolean {
  return demands.some(({ thresholds }) => thresholds.some((one) => isFrom(one, person, membership)))
}

/** What is missing until a job may run. */
export type Lacking = {
  /** So many more persons must approve, whoever they are. */
  readonly persons: number
  /** For each rule that is not satisfied yet, the ways to do it: `approve` more of `from`. */
  readonly rules: readonly {
    readonly rule: string
    readonly thresholds: readonly Pick<Threshold, 'from' | 'approve'>[]
  }[]
}

/** Nothing is missing once every rule that asks has one of its thresholds reached, at level `critical` by two persons. */
export function lacking(
  demands: Demands,
  ballots: readonly Ballot[],
  membership: Membership,
  level: ApprovalLevel,
): Lacking {
  const rules = demands
    .map(({ rule, thresholds }) => ({
      rule,
      thresholds: thresholds.map((one) => ({
        from: one.from,
        approve: Math.max(0, one.approve - count(one, 'approve', ballots, membership)),
      })),
    }))
    .filter(({ thresholds }) => thresholds.every(({ approve }) => approve > 0))
  const approvers = new Set(
    ballots
      .filter(({ by, decision }) => decision === 'approve' && mayVote(demands, by, membership))
      .map(({ by }) => by),
  )
  const ofRules = rules.map(({ thresholds }) => Math.min(...thresholds.map(({ approve }) => approve)))
  return { persons: Math.max(0, personsAtLeast[level] - approvers.size, ...ofRules), rules }
}

/**
 * What the votes so far come to. Every rule that asks for approval must have one of its thresholds reached; one rule whose
 * threshold of refusals is reached rejects the job, whatever the others say. At level `critical` it takes two persons, whatever the
 * thresholds say.
 */
export function tally(
  demands: Demands,
  ballots: readonly Ballot[],
  membership: Membership,
  level: ApprovalLevel,
): 'approved' | 'rejected' | 'open' {
  const rejected = demands.some(({ thresholds }) =>
    thresholds.some((one) => count(one, 'reject', ballots, membership) >= one.deny),
  )
  if (rejected) return 'rejected'
  return lacking(demands, ballots, membership, level).persons === 0 ? 'approved' : 'open'
}

function count(
  threshold: Threshold,
  decision: Ballot['decision'],
  ballots: readonly Ballot[],
  membership: Membership,
): number {
  return ballots.filter((ballot) => ballot.decision === decision && isFrom(threshold, ballot.by, membership))
    .length
}

const personsAtLeast: Readonly<Record<ApprovalLevel, number>> = { normal: 1, high: 1, critical: 2 }

function isFrom({ from }: Threshold, person: string, membership: Membership): boolean {
  switch (from.kind) {
    case 'anyone':
      return true
    case 'persons':
      return from.names.includes(person)
    case 'groups':
      return from.names.some(
        (name) => Object.hasOwn(membership.groups, name) && membership.groups[name]?.includes(person),
      )
    case 'roles':
      return from.names.some(
        (name) => Object.hasOwn(membership.roles, name) && membership.roles[name]?.includes(person),
      )
  }
}
