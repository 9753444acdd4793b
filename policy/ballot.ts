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
  const count = (threshold: Threshold, decision: Ballot['decision']): number =>
    ballots.filter((ballot) => ballot.decision === decision && isFrom(threshold, ballot.by, membership))
      .length
  const rejected = demands.some(({ thresholds }) =>
    thresholds.some((one) => count(one, 'reject') >= one.deny),
  )
  if (rejected) return 'rejected'
  const approved = demands.every(({ thresholds }) =>
    thresholds.some((one) => count(one, 'approve') >= one.approve),
  )
  const approvers = new Set(
    ballots
      .filter(({ by, decision }) => decision === 'approve' && mayVote(demands, by, membership))
      .map(({ by }) => by),
  )
  return approved && approvers.size >= personsAtLeast[level] ? 'approved' : 'open'
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
