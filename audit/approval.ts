import type { ApprovalRequirement } from '../policy/evaluate.ts'
import type { ApprovalLevel } from '../policy/rule.ts'
import type { Approval } from './event.ts'

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

/** How much care this approval takes. */
export function levelOf(approval: Approval): ApprovalLevel {
  return approval.level ?? 'normal'
}
