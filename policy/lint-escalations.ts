import type { Looking } from './warning.ts'

/**
 * Whom a rule escalates to and none of its thresholds counts: they would hear of it and could do nothing. Groups are compared by name,
 * because who is in them is not the policy's to know.
 */
export function lintEscalations({ policy, warnings }: Looking): void {
  for (const { id, approval } of policy.rules) {
    const counted = (approval?.thresholds ?? []).map(({ from }) => from)
    if (counted.some(({ kind }) => kind === 'anyone')) continue
    for (const { to } of approval?.escalations ?? []) {
      const others = to.names.filter(
        (name) => !counted.some(({ kind, names }) => kind === to.kind && names.includes(name)),
      )
      if (others.length === 0) continue
      warnings.push({
        code: 'escalates-past',
        rule_id: id,
        message: `escalates to ${to.kind} ${others.join(', ')}, and none of its thresholds counts them: hearing of it gives nobody a vote`,
      })
    }
  }
}
