import { sortedEscalations } from './compile-approval.ts'
import { canonicalJson, shortHash } from './digest.ts'
import type { ApprovalLevel, ApprovalTerms, Escalation, Excluded, Rule, Threshold } from './rule.ts'

/**
 * What a person must agree to. `id` is a hash of the rules and of what they ask of the approvers: the same requirement has the same id,
 * whoever is reminded of it.
 */
export type ApprovalRequirement = {
  readonly id: string
  readonly rules: readonly string[]
  readonly expiresInMs: number
  readonly useWithinMs: number
  readonly exclude: readonly Excluded[]
  /** Every rule's thresholds must be reached, each by itself. */
  readonly demands: readonly { readonly rule: string; readonly thresholds: readonly Threshold[] }[]
  /** Null: nobody is reminded. */
  readonly remindAfterMs: number | null
  readonly escalations: readonly Escalation[]
  /** An approval before that is too early; 0 asks for no wait. */
  readonly waitAtLeastMs: number
  readonly level: ApprovalLevel
}

/** The levels from the least to the gravest. */
export const approvalLevels = ['normal', 'high', 'critical'] as const satisfies readonly ApprovalLevel[]

/**
 * What all of the rules' approvals come to: every demand, the shortest time to decide and to use, the earliest reminder, the
 * longest wait, the highest level, all escalations. `approving` is sorted by id.
 */
export function mergedApproval(approving: readonly Rule[]): ApprovalRequirement | null {
  if (approving.length === 0) return null
  const terms = approving.flatMap((rule) =>
    rule.approval === null ? [] : [{ rule: rule.id, approval: rule.approval }],
  )
  const all = terms.map(({ approval }) => approval)
  const reminders = all.flatMap(({ remindAfterMs }) => remindAfterMs ?? [])
  const levels = new Set(all.map(({ level }) => level ?? 'normal'))
  return {
    id: shortHash(canonicalJson(terms.map(({ rule, approval }) => ({ rule, approval: asked(approval) })))),
    rules: terms.map((term) => term.rule),
    expiresInMs: Math.min(...all.map(({ expiresInMs }) => expiresInMs)),
    useWithinMs: Math.min(...all.map(({ useWithinMs }) => useWithinMs)),
    exclude: [...new Set(all.flatMap(({ exclude }) => exclude))].toSorted(),
    demands: terms.map(({ rule, approval }) => ({ rule, thresholds: approval.thresholds })),
    remindAfterMs: reminders.length === 0 ? null : Math.min(...reminders),
    escalations: sortedEscalations(all.flatMap(({ escalations }) => escalations ?? [])),
    waitAtLeastMs: Math.max(...all.map(({ waitAtLeastMs }) => waitAtLeastMs ?? 0)),
    level: approvalLevels.findLast((level) => levels.has(level)) ?? 'normal',
  }
}

/** The terms without those that only say who hears of it. */
function asked(terms: ApprovalTerms): Omit<ApprovalTerms, 'remindAfterMs' | 'escalations'> {
  const { remindAfterMs: _reminder, escalations: _escalations, ...rest } = terms
  return rest
}
