import * as z from 'zod'
import { approval } from './schema-approval.ts'
import { constraints, output, throttle } from './schema-blocks.ts'
import { condition, tagSource } from './schema-condition.ts'
import { listOf, principal, tag, word } from './schema-parts.ts'

export type { ConditionFile } from './schema-condition.ts'

const reasonCharsMax = 500
const rulesMax = 200_000

const decisionWords = ['allow', 'deny', 'require_approval', 'throttle', 'allow_with_constraints'] as const

const rule = z.strictObject(
  {
    id: z
      .string({ error: 'must be text' })
      .regex(/^[A-Za-z0-9_.-]{1,64}$/, 'must be 1 to 64 of A-Z, a-z, 0-9, "_", "." and "-"'),
    description: word(2_000).optional(),
    owner: word(200).optional().describe('Who answers for this rule; not part of its meaning.'),
    floor: z
      .boolean({ error: 'must be true or false' })
      .optional()
      .describe('Never relaxed, by an overlay or by a person.'),
    match: condition.describe('What the rule covers; {} covers everything.'),
    unless: condition.optional().describe('Exceptions: where this holds as well, the rule does not apply.'),
    decision: z.enum(decisionWords),
    reason: z
      .string({ error: 'must be text' })
      .regex(/\S/, 'must not be empty')
      .max(reasonCharsMax, `must be at most ${reasonCharsMax} characters`)
      .optional()
      .describe('What the agent and the approver are told.'),
    constraints: constraints.optional().describe('Only with allow_with_constraints.'),
    throttle: throttle.optional().describe('Only with throttle.'),
    approval: approval.optional().describe('Only with require_approval.'),
    output: output
      .optional()
      .describe('What is done about findings in the output; it can only become stricter.'),
  },
  { error: 'must be a rule, which is a map with id, match and decision' },
)

const derivation = z.strictObject(
  {
    add: listOf(tag, 'tags'),
    description: word(2_000).optional(),
    match: tagSource,
    unless: tagSource.optional(),
  },
  { error: 'must be a map with add and match' },
)

const tier = listOf(tag, 'tags').optional()

/**
 * The shape of a policy file. What a shape cannot say (duplicate ids, which block belongs to which decision) is in
 * `rule-problems.ts`.
 */
export const policyFile = z.strictObject(
  {
    version: z.literal('v1', { error: 'must be v1' }),
    overlay: z
      .strictObject({ tenants: listOf(principal, 'names') }, { error: 'must be a map with tenants' })
      .optional(),
    risk_tiers: z
      .strictObject(
        { low: tier, medium: tier, high: tier, critical: tier },
        { error: 'must be a map of tiers' },
      )
      .optional(),
    tags: z.array(derivation, { error: 'must be a list of derivations' }).max(rulesMax).optional(),
    rules: z
      .array(rule, { error: 'must be a list of rules' })
      .min(1, 'must have at least one rule')
      .max(rulesMax, `must have at most ${rulesMax} rules`),
  },
  { error: 'must be a map with version and rules' },
)

/** A policy file that has the right shape. */
export type PolicyFile = z.infer<typeof policyFile>
/** One rule as written. */
export type RuleFile = PolicyFile['rules'][number]
