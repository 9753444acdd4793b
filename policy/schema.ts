import * as z from 'zod'
import { parseDurationMs } from './duration.ts'
import { patternProblem } from './topic.ts'

/** Every limit of the file has its bound here, so that no policy can ask for what the gateway cannot hold. */
const listMax = 1_000
const textCharsMax = 500

export const decisionWords = [
  'allow',
  'deny',
  'require_approval',
  'throttle',
  'allow_with_constraints',
] as const

const word = (charsMax: number) =>
  z
    .string({ error: 'must be text' })
    .min(1, 'must not be empty')
    .max(charsMax, `must be at most ${charsMax} characters`)

const wordList = (charsMax: number) =>
  z
    .array(word(charsMax), { error: 'must be a list of words' })
    .min(1, 'must not be an empty list')
    .max(listMax, `must have at most ${listMax} entries`)

const duration = (least: string, most: string) =>
  z.string({ error: 'must be a duration such as 500ms, 10s, 5m, 1h or 7d' }).superRefine((text, context) => {
    const ms = parseDurationMs(text)
    if (ms === undefined) context.addIssue('must be a duration such as 500ms, 10s, 5m, 1h or 7d')
    else if (ms < (parseDurationMs(least) ?? 0) || ms > (parseDurationMs(most) ?? 0)) {
      context.addIssue(`must be from ${least} to ${most}`)
    }
  })

const whole = (least: number, most: number) =>
  z
    .int({ error: 'must be a whole number' })
    .min(least, `must be at least ${least}`)
    .max(most, `must be at most ${most}`)

const topicPattern = z.string({ error: 'must be text' }).superRefine((pattern, context) => {
  const problem = patternProblem(pattern)
  if (problem !== undefined)
    context.addIssue({ code: 'custom', message: problem, params: { problem: 'policy-pattern' } })
})

/** Tenants and actors are single tokens of a subject; a wildcard here would silently match nothing. */
const principal = z
  .string({ error: 'must be text' })
  .regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'must be 1 to 32 of a-z, 0-9 and "-" (no wildcards)')

const principalList = z
  .array(principal, { error: 'must be a list of names' })
  .min(1, 'must not be an empty list')
  .max(listMax, `must have at most ${listMax} entries`)

const tag = word(64)
const tagList = wordList(64)

const tagCondition = z.union([
  z.array(tag, { error: 'must be a list of tags' }).max(listMax, `must have at most ${listMax} entries`),
  z
    .strictObject(
      { any: tagList.optional(), all: tagList.optional(), none: tagList.optional() },
      { error: 'must be a list of tags, or {any, all, none}' },
    )
    .refine((parts) => Object.keys(parts).length > 0, 'needs at least one of any, all, none'),
])

const condition = z.strictObject(
  {
    topics: z
      .array(topicPattern, { error: 'must be a list of patterns' })
      .min(1, 'must not be an empty list')
      .max(listMax, `must have at most ${listMax} entries`)
      .optional(),
    tenants: principalList.optional(),
    actors: principalList.optional(),
    risk_tags: tagCondition.optional(),
    labels: z
      .record(word(64), z.string({ error: 'must be text' }).max(256), { error: 'must be a map of labels' })
      .optional(),
    capabilities: wordList(128).optional(),
  },
  { error: 'must be a map of conditions' },
)

const absolutePath = z
  .string({ error: 'must be text' })
  .max(1_024, 'must be at most 1024 characters')
  .regex(
    /^\/(?:[^/*?\p{Cc}]+(?:\/[^/*?\p{Cc}]+)*)?$/u,
    'must be an absolute path without wildcards; it covers everything below it',
  )
  .refine(
    (path) => !path.split('/').some((part) => part === '.' || part === '..'),
    'must not contain "." or ".."',
  )

const host = z
  .string({ error: 'must be text' })
  .max(253, 'must be at most 253 characters')
  .regex(
    /^(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/,
    'must be a lower-case host name, or *. and one (no scheme, port or path)',
  )

const constraints = z.strictObject(
  {
    max_runtime_sec: whole(1, 3_600).optional(),
    max_retries: whole(0, 100).optional(),
    max_concurrency: whole(1, 10_000).optional(),
    max_output_bytes: whole(1, 67_108_864).optional(),
    allow_paths: z.array(absolutePath, { error: 'must be a list of paths' }).max(listMax).optional(),
    deny_paths: z.array(absolutePath, { error: 'must be a list of paths' }).max(listMax).optional(),
    allow_hosts: z.array(host, { error: 'must be a list of host names' }).max(listMax).optional(),
    deny_hosts: z.array(host, { error: 'must be a list of host names' }).max(listMax).optional(),
  },
  { error: 'must be a map of constraints' },
)

const throttle = z.strictObject(
  { rate: whole(1, 1_000), per: duration('100ms', '7d'), max_wait: duration('0s', '1h').optional() },
  { error: 'must be a map with rate and per' },
)

const approval = z.strictObject(
  { expires_in: duration('100ms', '30d').optional() },
  { error: 'must be a map of approval terms' },
)

const rule = z.strictObject(
  {
    id: z
      .string({ error: 'must be text' })
      .regex(/^[A-Za-z0-9_.-]{1,64}$/, 'must be 1 to 64 of A-Z, a-z, 0-9, "_", "." and "-"'),
    description: word(2_000).optional(),
    owner: word(200).optional(),
    floor: z.boolean({ error: 'must be true or false' }).optional(),
    match: condition,
    unless: condition.optional(),
    decision: z.enum(decisionWords),
    reason: word(textCharsMax).optional(),
    constraints: constraints.optional(),
    throttle: throttle.optional(),
    approval: approval.optional(),
  },
  { error: 'must be a rule, a map with id, match and decision' },
)

const tierNames = {
  low: tagList.optional(),
  medium: tagList.optional(),
  high: tagList.optional(),
  critical: tagList.optional(),
}

/** The shape of a policy file. What a shape cannot say (duplicate ids, which block belongs to which decision) is in `rule-problems.ts`. */
export const policyFile = z.strictObject(
  {
    version: z.literal('v1', { error: 'must be v1' }),
    risk_tiers: z.strictObject(tierNames, { error: 'must be a map of tiers' }).optional(),
    rules: z
      .array(rule, { error: 'must be a list of rules' })
      .min(1, 'must have at least one rule')
      .max(200_000),
  },
  { error: 'must be a map with version and rules' },
)

/** A policy file that has the right shape. */
export type PolicyFile = z.infer<typeof policyFile>
/** One rule as written. */
export type RuleFile = PolicyFile['rules'][number]
/** One `match` or `unless` as written. */
export type ConditionFile = RuleFile['match']
