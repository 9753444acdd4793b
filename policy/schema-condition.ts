import * as z from 'zod'
import { pointerProblem } from './payload.ts'
import {
  anyListOf,
  capability,
  labelKey,
  labelValue,
  listOf,
  oneOf,
  principal,
  someOf,
  tag,
  word,
} from './schema-parts.ts'
import { dayNames, isZone, parseMinutes } from './time-window.ts'
import { patternProblem } from './topic.ts'

/** `job.a.*` or `job.>`: the pattern that editors know is a little wider than what the loader accepts, which also says why. */
const topicPattern = z
  .string({ error: 'must be text' })
  .superRefine((pattern, context) => {
    const problem = patternProblem(pattern)
    if (problem !== undefined)
      context.addIssue({ code: 'custom', message: problem, params: { problem: 'policy-pattern' } })
  })
  .meta({ pattern: '^job\\.(?:(?:\\*|[A-Za-z0-9_-]{1,64})\\.){0,15}(?:\\*|>|[A-Za-z0-9_-]{1,64})$' })

const tags = z.union([
  anyListOf(tag, 'tags'),
  someOf(
    {
      any: listOf(tag, 'tags').optional(),
      all: listOf(tag, 'tags').optional(),
      none: listOf(tag, 'tags').optional(),
    },
    'must be a list of tags, or a map of any, all and none',
  ),
])

const label = z.union([
  labelValue,
  oneOf(
    {
      equals: labelValue.optional(),
      one_of: listOf(labelValue, 'values').optional(),
      prefix: labelValue.min(1, 'must not be empty').optional(),
      present: z.boolean({ error: 'must be true or false' }).optional(),
    },
    'must be text, or a map of equals, one_of, prefix or present',
  ),
])

const scalarText = 'must be text, a number, true, false or null'
const number = z
  .number({ error: 'must be a number' })
  .refine((value) => Number.isSafeInteger(value) || !Number.isInteger(value), 'must be within 2^53')
const scalar = z.union(
  [z.string().max(1_000, 'must be at most 1000 characters'), number, z.boolean(), z.null()],
  {
    error: scalarText,
  },
)

const bounds = {
  at_least: number.optional(),
  above: number.optional(),
  at_most: number.optional(),
  below: number.optional(),
}

type Bounds = {
  at_least?: number | undefined
  above?: number | undefined
  at_most?: number | undefined
  below?: number | undefined
}

/** A range in which there is no number would be a rule that can never match. */
function isOpen({
  at_least = -Infinity,
  above = -Infinity,
  at_most = Infinity,
  below = Infinity,
}: Bounds): boolean {
  return at_least <= at_most && at_least < below && above < at_most && above < below
}

const range = someOf(bounds, 'must be a map of at_least, above, at_most, below').refine(
  isOpen,
  'leaves no number between its bounds',
)

const payloadTest = z.union([
  scalar,
  z
    .strictObject(
      {
        equals: scalar.optional(),
        one_of: listOf(scalar, 'values').optional(),
        prefix: word(1_000).optional(),
        exists: z.boolean({ error: 'must be true or false' }).optional(),
        ...bounds,
      },
      { error: 'must be a value, or a map of equals, one_of, prefix, exists or bounds' },
    )
    .refine(isOneTest, 'must have exactly one of equals, one_of, prefix, exists, or bounds')
    .refine(isOpen, 'leaves no number between its bounds'),
])

function isOneTest(test: Record<string, unknown>): boolean {
  const keys = Object.keys(test)
  return keys.length > 0 && (keys.length === 1 || keys.every((key) => Object.hasOwn(bounds, key)))
}

const pointer = z.string().superRefine((text, context) => {
  const problem = pointerProblem(text)
  if (problem !== undefined) context.addIssue(problem)
})

const clock = z
  .string({ error: 'must be a time of day such as "09:00" (in quotes)' })
  .refine((text) => parseMinutes(text) !== undefined, 'must be a time of day from "00:00" to "24:00"')

const time = z
  .strictObject(
    {
      zone: z
        .string({ error: 'must name a zone such as Europe/Berlin' })
        .refine(isZone, 'is not a time zone such as Europe/Berlin or UTC'),
      days: listOf(z.enum(dayNames), 'days').optional(),
      from: clock.optional(),
      to: clock.optional(),
    },
    { error: 'must be a map of zone, days, from and to' },
  )
  .refine(
    (window) => (window.from === undefined) === (window.to === undefined),
    'needs "from" and "to" together',
  )
  .refine(
    (window) => window.from !== undefined || window.days !== undefined,
    'needs "days", or "from" and "to"',
  )
  .refine(({ from, to }) => from === undefined || from !== to, 'begins when it ends')
  .refine(({ from, to }) => from !== '24:00' || to !== '00:00', 'begins when it ends')

/** An empty map asks nothing and looks as if it did. */
function saysSomething(map: object): boolean {
  return Object.keys(map).length > 0
}

const conditions = {
  topics: listOf(topicPattern, 'patterns')
    .optional()
    .describe('Any of these subjects; * is one token, > the rest.'),
  tenants: listOf(principal, 'names').optional().describe('Any of these tenants.'),
  actors: listOf(principal, 'names').optional().describe('Any of these agents, people or services.'),
  actor_types: listOf(z.enum(['agent', 'human', 'service']), 'actor types')
    .optional()
    .describe('Any of these kinds of actor.'),
  capabilities: listOf(capability, 'words').optional().describe('Any of these capabilities.'),
  risk_tags: tags
    .optional()
    .describe('A list: any of these tags; []: no tags at all; or a map of any, all, none.'),
  labels: z
    .record(labelKey, label, { error: 'must be a map of labels' })
    .refine(saysSomething, 'must not be empty')
    .meta({ minProperties: 1 })
    .optional()
    .describe('Every one of these labels, as text or as a test.'),
  payload: z
    .record(pointer, payloadTest, { error: 'must be a map of JSON pointers' })
    .refine(saysSomething, 'must not be empty')
    .meta({ minProperties: 1 })
    .optional()
    .describe('Every one of these JSON pointers into the payload, as a value or as a test.'),
  size: range.optional().describe("Bytes of the job's body."),
  time: time.optional().describe('Hours and days in a named zone.'),
}

const error = 'must be a map of conditions'

/** `match` and `unless` of a rule. */
export const condition = z.strictObject(conditions, { error })

/** What tags are derived from: everything but tags, which the agent could declare to steer the derivation. */
export const tagSource = z.strictObject(conditions, { error }).omit({ risk_tags: true })

export type ConditionFile = z.infer<typeof condition>
