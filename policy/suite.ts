import * as z from 'zod'
import { canonicalJson } from './digest.ts'
import { parseDeadlineMs } from './deadline.ts'
import { builtinDecision, evaluate, type Decision } from './evaluate.ts'
import type { Problem } from './problem.ts'
import { usualMs } from './sample-time.ts'
import { readScene } from './scene.ts'
import { keysIn } from './schema-keys.ts'
import { problemsOfIssue } from './schema-problem.ts'
import { constraints } from './schema-blocks.ts'
import type { Policy } from './rule.ts'
import { readYaml } from './yaml-source.ts'

const outcomes = ['ALLOW', 'DENY', 'REQUIRE_APPROVAL', 'THROTTLE', 'ALLOW_WITH_CONSTRAINTS'] as const
const time = z
  .string({ error: 'must be text' })
  .refine((text) => parseDeadlineMs(text) !== undefined, 'must be an RFC 3339 time with a zone')

const suiteFile = z.strictObject(
  {
    version: z.literal('v1', { error: 'must be v1' }),
    policy: z.union([z.string(), z.array(z.string()).min(1)]).optional(),
    now: time.optional(),
    tests: z
      .array(
        z.strictObject({
          name: z.string({ error: 'must be text' }).min(1).max(200),
          job: z.looseObject({}, { error: 'must be a job' }),
          granted: z.array(z.string()).optional(),
          want: z.strictObject({
            decision: z.enum(outcomes),
            rule: z.string().optional(),
            reason: z.string().optional(),
            constraints: z.union([constraints, z.null()]).optional(),
            matched: z.array(z.string()).optional(),
            derived: z.array(z.string()).optional(),
            risk_tier: z.string().optional(),
          }),
        }),
        { error: 'must be a list of tests' },
      )
      .min(1, 'must have at least one test'),
  },
  { error: 'must be a map with version and tests' },
)

/** Jobs and what is wanted of them. `policies` are paths as written, relative to the suite. */
export type Suite = {
  readonly policies: readonly string[]
  readonly nowMs: number
  readonly tests: readonly Wanted[]
}
export type Wanted = z.infer<typeof suiteFile>['tests'][number]

export type ReadSuite =
  | { readonly ok: true; readonly suite: Suite }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** One test's outcome; `differences` is empty if it is as wanted. */
export type Tried = { readonly name: string; readonly got: Decision; readonly differences: readonly string[] }

/** `rules` by id: how many tests matched the rule, and how many it decided. */
export type SuiteRun = {
  readonly tried: readonly Tried[]
  readonly rules: ReadonlyMap<string, { matched: number; decided: number }>
}

/** A suite from its YAML text. As strict as the policy: a misspelt key is a problem and never a test that tests nothing. */
export function readSuite(text: string, file: string): ReadSuite {
  const read = readYaml(text)
  if (!read.ok) return { ok: false, problems: read.problems.map((problem) => ({ ...problem, file })) }
  const { value, locate } = read.source
  const parsed = suiteFile.safeParse(value)
  if (!parsed.success) {
    const problems = parsed.error.issues.flatMap((issue) =>
      problemsOfIssue(issue, keysIn(suiteFile), locate, value),
    )
    return { ok: false, problems: problems.map((problem) => ({ ...problem, file })) }
  }
  const { policy, now, tests } = parsed.data
  const policies = policy === undefined ? [] : typeof policy === 'string' ? [policy] : policy
  const nowMs = now === undefined ? usualMs : (parseDeadlineMs(now) ?? usualMs)
  return { ok: true, suite: { policies, nowMs, tests } }
}

/** Tries every test. The clock stands still: at the test's own `now`, else the suite's, else Monday noon, 5 January 2026. */
export function runSuite(policy: Policy, suite: Suite): SuiteRun {
  const rules = new Map(policy.rules.map(({ id }) => [id, { matched: 0, decided: 0 }]))
  const tried = suite.tests.map((wanted): Tried => {
    const { decision, derived } = decide(policy, wanted, suite.nowMs)
    for (const id of decision.matched) {
      const count = rules.get(id)
      if (count !== undefined) count.matched++
    }
    const decided = rules.get(decision.rule_id)
    if (decided !== undefined) decided.decided++
    return { name: wanted.name, got: decision, differences: differences(wanted, decision, derived) }
  })
  return { tried, rules }
}

function decide(
  policy: Policy,
  { job, granted }: Wanted,
  nowMs: number,
): { decision: Decision; derived: readonly string[] } {
  const read = readScene(job)
  if (!read.ok) {
    const { ruleId, reason } = read.refusal
    return { decision: builtinDecision('DENY', ruleId, reason, policy.snapshot), derived: [] }
  }
  const { scene } = read
  const { decision, tags } = evaluate(policy, scene.job, {
    nowMs: scene.nowMs ?? nowMs,
    granted: granted ?? [],
  })
  return { decision, derived: tags.derived }
}

function differences({ want }: Wanted, got: Decision, derived: readonly string[]): readonly string[] {
  const pairs: [string, unknown, unknown][] = [
    ['decision', want.decision, got.type],
    ['rule', want.rule, got.rule_id],
    ['reason', want.reason, got.reason],
    ['constraints', want.constraints, got.constraints],
    ['matched', want.matched?.toSorted(), got.matched],
    ['derived', want.derived?.toSorted(), derived],
    ['risk_tier', want.risk_tier, got.risk_tier ?? null],
  ]
  return pairs.flatMap(([name, wanted, found]) => {
    if (wanted === undefined || canonicalJson(wanted) === canonicalJson(found)) return []
    return [`${name}: wanted ${text(wanted)}, got ${text(found)}`]
  })
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : canonicalJson(value)
}
