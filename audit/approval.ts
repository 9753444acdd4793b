import { meetConstraints, type Constraints } from '../policy/constraints.ts'
import type { ApprovalRequirement, Decision } from '../policy/evaluate.ts'
import type { ApprovalLevel } from '../policy/rule.ts'
import type { Approval, JobEvent } from './event.ts'

/** What a person is asked, as it stays on record whatever the policy says later. */
export function asked(nowMs: number, requirement: ApprovalRequirement): Approval {
  const { escalations, remindAfterMs, waitAtLeastMs } = requirement
  const after = (ms: number): string => new Date(nowMs + ms).toISOString()
  return {
    requirement: requirement.id,
    rules: requirement.rules,
    requested_at: after(0),
    expires_at: after(requirement.expiresInMs),
    use_within_ms: requirement.useWithinMs,
    exclude: requirement.exclude,
    demands: requirement.demands,
    votes: [],
    level: requirement.level,
    ...(waitAtLeastMs === 0 ? {} : { approve_from: after(waitAtLeastMs) }),
    ...(remindAfterMs === null ? {} : { remind_at: after(remindAfterMs) }),
    ...(escalations.length === 0
      ? {}
      : { escalations: escalations.map(({ to, afterMs }) => ({ to, at: after(afterMs) })) }),
  }
}

/** The decision with the strictest of its own limits, those that the approver was shown, and those that approvers added. */
export function withinApproved(
  decision: Decision,
  shown: Constraints | null,
  approval: Pick<Approval, 'votes'>,
): Decision {
  const added = approval.votes.flatMap((vote) => vote.constraints ?? [])
  const met = [decision.constraints, ...added].reduce(meetConstraints, shown)
  // Without a limit on retries there are none: a policy that allows some by now gives them to nobody who was shown none.
  const retries = Math.min(met?.max_retries ?? 0, shown?.max_retries ?? 0)
  const constraints = met?.max_retries === undefined ? met : { ...met, max_retries: retries }
  return { ...decision, constraints }
}

/** How much care this approval takes. */
export function levelOf(approval: Approval): ApprovalLevel {
  return approval.level ?? 'normal'
}

/** What happens next to an approval that nobody gives, and when by the record. */
export type Due = { readonly event: 'reminded' | 'escalated' | 'expired'; readonly at: string }

/** What is still to come, the earliest first; the last is always the expiry. */
export function stillDue({ remind_at, reminded_at, escalations, expires_at }: Approval): readonly Due[] {
  const dues: Due[] = []
  if (remind_at !== undefined && reminded_at === undefined) dues.push({ event: 'reminded', at: remind_at })
  for (const { at, escalated_at } of escalations ?? [])
    if (escalated_at === undefined) dues.push({ event: 'escalated', at })
  const before = dues.filter(({ at }) => at < expires_at).toSorted((a, b) => (a.at < b.at ? -1 : 1))
  return [...before, { event: 'expired', at: expires_at }]
}

/** The event of what is due, with the approval as it is afterwards. */
export function dueEvent(approval: Approval, { event }: Due, nowMs: number): JobEvent {
  const now = new Date(nowMs).toISOString()
  switch (event) {
    case 'reminded':
      return { event, approval: { ...approval, reminded_at: now } }
    case 'escalated': {
      const escalations = approval.escalations ?? []
      const first = escalations.findIndex(({ escalated_at }) => escalated_at === undefined)
      const escalated = escalations.map((one, index) =>
        index === first ? { ...one, escalated_at: now } : one,
      )
      return { event, approval: { ...approval, escalations: escalated } }
    }
    case 'expired':
      return { event, limit: 'approval' }
  }
}
