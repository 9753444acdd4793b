import * as z from 'zod'
import { approvalDefaults } from './compile-approval.ts'
import { parseDurationMs } from './duration.ts'
import { duration, listOf, oneOf, whole, word } from './schema-parts.ts'

const names = listOf(word(200), 'names')
const people = { groups: names.optional(), roles: names.optional(), persons: names.optional() }

const threshold = z
  .strictObject(
    {
      name: word(100).optional(),
      from: oneOf(people, 'must be a map of groups, roles or persons').optional(),
      approve: whole(1, 20),
      deny: whole(1, 20).optional(),
    },
    { error: 'must be a map with approve' },
  )
  .refine(
    (wanted) => wanted.from?.persons === undefined || wanted.approve <= new Set(wanted.from.persons).size,
    {
      path: ['approve'],
      message: 'asks for more persons than are named, so nobody could give this approval',
    },
  )

const escalation = z
  .strictObject(
    { ...people, after: duration('100ms', '30d') },
    { error: 'must be a map of groups, roles or persons, with after' },
  )
  .refine((written) => Object.keys(people).filter((key) => key in written).length === 1, {
    message: `must have exactly one of ${Object.keys(people).join(', ')}`,
  })

/** Who must agree and for how long that holds. There is no way to write "allow when nobody answers". */
export const approval = z
  .strictObject(
    {
      expires_in: duration('100ms', '30d').optional(),
      use_within: duration('1s', '1h').optional(),
      exclude: listOf(z.enum(['submitter', 'agent_owner', 'policy_author']), 'excluded persons').optional(),
      thresholds: listOf(threshold, 'thresholds').max(10, 'must have at most 10 entries').optional(),
      remind_at: duration('100ms', '30d').optional(),
      escalate_to: z
        .union([escalation, listOf(escalation, 'escalations').max(10, 'must have at most 10 entries')])
        .optional(),
      wait_at_least: duration('100ms', '30d').optional(),
      level: z.enum(['normal', 'high', 'critical']).optional(),
    },
    { error: 'must be a map of approval terms' },
  )
  .superRefine((terms, context) => {
    const expiresMs = parseDurationMs(terms.expires_in ?? approvalDefaults.expiresIn) ?? Infinity
    // What is no duration has been said already.
    const early = (text: string): boolean => (parseDurationMs(text) ?? 0) < expiresMs
    const say = (path: PropertyKey[], message: string): void =>
      context.addIssue({ code: 'custom', path, message })
    if (terms.remind_at !== undefined && !early(terms.remind_at))
      say(['remind_at'], 'must be less than expires_in: later there is nothing to remind of')
    if (terms.wait_at_least !== undefined && !early(terms.wait_at_least))
      say(['wait_at_least'], 'must be less than expires_in, or nobody could give this approval')
    for (const [index, one] of [terms.escalate_to ?? []].flat().entries())
      if (!early(one.after))
        say(
          ['escalate_to', ...(Array.isArray(terms.escalate_to) ? [index] : []), 'after'],
          'must be less than expires_in: later there is nothing to decide',
        )
    if (terms.level === 'critical' && isOnePerson(terms.thresholds))
      say(['level'], 'asks for two persons, and the thresholds name only one')
  })

type Thresholds = readonly z.infer<typeof threshold>[] | undefined

function isOnePerson(thresholds: Thresholds): boolean {
  if (thresholds === undefined || thresholds.some(({ from }) => from?.persons === undefined)) return false
  return new Set(thresholds.flatMap(({ from }) => from?.persons ?? [])).size < 2
}
