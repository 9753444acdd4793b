import type { Approval, Resolution } from '../../audit/event.ts'
import type { RecordData } from '../../audit/record.ts'
import { mayVote } from '../../policy/ballot.ts'
import { decidesFor, type Topology } from '../config/topology.ts'
import type { Io } from '../io.ts'

/** Why a person's word is not taken. */
export type Refused = { readonly refuse: string; readonly detail: string }

/** Who may not decide about this job at all, or not once more. */
export function mayNot(
  io: Pick<Io, 'topology' | 'policy'>,
  by: string,
  data: RecordData,
  approval: Approval,
): Refused | undefined {
  // Stored before the topology changed.
  if (!decidesFor(io.topology, by, data.tenant))
    return { refuse: 'not_found', detail: 'there is no such job' }
  if (by === data.actor.id) return { refuse: 'self_approval', detail: 'nobody decides about an own job' }
  if (isOwner(io.topology, by, data))
    return {
      refuse: 'self_approval',
      detail: `${by} answers for ${data.actor.id} and does not decide about its jobs`,
    }
  const authors = io
    .policy()
    .rules.filter(({ id }) => approval.rules.includes(id))
    .map(({ owner }) => owner)
  if (approval.exclude.includes('policy_author') && authors.includes(by))
    return { refuse: 'self_approval', detail: `${by} owns the rule that asks for this approval` }
  if (!mayVote(approval.demands, by, io.topology))
    return { refuse: 'not_an_approver', detail: 'none of the thresholds of this approval counts your word' }
  if (approval.votes.some((vote) => vote.by === by))
    return { refuse: 'already_voted', detail: 'you have decided about this job; everybody does once' }
  return undefined
}

/** The votes of those who may still decide: whoever has left the approvers, or answers for the agent by now, counts no more. */
export function countingVotes(topology: Topology, data: RecordData): readonly Resolution[] {
  const votes = data.approval?.votes ?? []
  return votes.filter(
    ({ by }) =>
      topology.approvers.includes(by) &&
      decidesFor(topology, by, data.tenant) &&
      !isOwner(topology, by, data),
  )
}

function isOwner({ tenants }: Topology, person: string, { tenant, actor }: RecordData): boolean {
  const agents = tenants.find(({ name }) => name === tenant)?.agents
  return agents?.find(({ name }) => name === actor.id)?.owner === person
}
