import { normalList } from './compile-condition.ts'
import { canonicalJson } from './digest.ts'
import { durationMs } from './duration.ts'
import type { ApprovalTerms, Escalation, People, Threshold } from './rule.ts'
import type { RuleFile } from './schema.ts'

/** What an approval leaves unsaid. */
export const approvalDefaults = { expiresIn: '1h', useWithin: '15m' } as const

type Written = NonNullable<RuleFile['approval']>
type WrittenPeople = Partial<Record<'groups' | 'roles' | 'persons', readonly string[] | undefined>>

/** An approval block as written, complete. */
export function compileApproval(written: Written): ApprovalTerms {
  const { remind_at: remindAt, wait_at_least: waitAtLeast, level, escalate_to: escalateTo } = written
  return {
    expiresInMs: durationMs(written.expires_in ?? approvalDefaults.expiresIn),
    useWithinMs: durationMs(written.use_within ?? approvalDefaults.useWithin),
    // Nobody approves an own job, whatever the file says or forgets.
    exclude: normalList(['submitter', ...(written.exclude ?? [])]),
    thresholds: (written.thresholds ?? [{ approve: 1 }]).map(compileThreshold),
    ...(remindAt === undefined ? {} : { remindAfterMs: durationMs(remindAt) }),
    ...(waitAtLeast === undefined ? {} : { waitAtLeastMs: durationMs(waitAtLeast) }),
    ...(level === undefined || level === 'normal' ? {} : { level }),
    ...(escalateTo === undefined
      ? {}
      : { escalations: sortedEscalations([escalateTo].flat().map(compileEscalation)) }),
  }
}

/** Each once, the earliest first; the order in which they were written says nothing. */
export function sortedEscalations(escalations: readonly Escalation[]): readonly Escalation[] {
  const byText = new Map(escalations.map((one) => [canonicalJson(one), one]))
  return [...byText]
    .toSorted(([a, one], [b, other]) => one.afterMs - other.afterMs || (a < b ? -1 : 1))
    .map(([, one]) => one)
}

function compileThreshold(written: NonNullable<Written['thresholds']>[number]): Threshold {
  return {
    ...(written.name === undefined ? {} : { name: written.name }),
    from: written.from === undefined ? { kind: 'anyone', names: [] } : peopleOf(written.from),
    approve: written.approve,
    deny: written.deny ?? 1,
  }
}

function compileEscalation(written: WrittenPeople & { readonly after: string }): Escalation {
  return { to: peopleOf(written), afterMs: durationMs(written.after) }
}

function peopleOf(written: WrittenPeople): People {
  for (const kind of ['groups', 'roles', 'persons'] as const) {
    const names = written[kind]
    if (names !== undefined) return { kind, names: normalList(names) }
  }
  throw new Error('people passed the schema and are none')
}
