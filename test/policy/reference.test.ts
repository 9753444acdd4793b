import { expect, it } from 'vitest'
import { compilePolicy } from '../../policy/compile.ts'
import { evaluate, type Evaluation } from '../../policy/evaluate.ts'
import { Merge } from '../../policy/merge.ts'
import { escalationText, naiveEvaluate, type NaiveOutcome } from './naive.ts'
import { Dice, randomFiles, randomJob } from './random-policy.ts'

function summary({ decision, throttles, approval, tags }: Evaluation): NaiveOutcome {
  return {
    type: decision.type,
    ruleId: decision.rule_id,
    matched: decision.matched,
    derived: tags.derived,
    tier: decision.risk_tier,
    throttles: throttles.map((throttle) => throttle.ruleId),
    approvers: approval?.rules ?? [],
    care:
      approval === null
        ? undefined
        : {
            expires: approval.expiresInMs,
            remind: approval.remindAfterMs ?? undefined,
            wait: approval.waitAtLeastMs,
            level: approval.level,
            escalations: approval.escalations
              .map(({ to, afterMs }) => escalationText(to.kind, to.names, afterMs))
              .toSorted(),
          },
  }
}

const policies = 2_000
const jobsPerPolicy = 101

it(
  `agrees with the naive reference on ${policies * jobsPerPolicy} random pairs of policy and job`,
  { timeout: 180_000 },
  () => {
    const seed = Number(process.env['SLUICE_TEST_SEED'] ?? 20_261_122)
    const dice = new Dice(seed)
    const seen = new Map<string, number>()
    for (let round = 0; round < policies; round++) {
      const files = randomFiles(dice, round % 40 === 0 ? 120 : 14)
      const policy = compilePolicy(files, '')
      const ids = policy.rules.map((rule) => rule.id)
      let nowMs = 0
      for (let count = 0; count < jobsPerPolicy; count++) {
        const job = randomJob(dice)
        const granted = dice.chance(50) ? [] : ids.filter(() => dice.chance(60))
        // Ten jobs a minute: to read a clock in another zone is by far the dearest thing here.
        if (count % 10 === 0) nowMs = 1_763_000_000_000 + dice.below(2_000_000_000)
        const facts = { nowMs, granted }
        const found = summary(evaluate(policy, job, facts))
        const wanted = naiveEvaluate(files, job, facts)
        if (JSON.stringify(found) !== JSON.stringify(wanted)) {
          expect({ seed, round, count, job, files, found }).toEqual({
            seed,
            round,
            count,
            job,
            files,
            found: wanted,
          })
        }
        seen.set(found.type, (seen.get(found.type) ?? 0) + 1)
      }
    }
    // A fuzz that only ever sees one outcome proves little: each of the five must be common.
    for (const type of ['ALLOW', 'DENY', 'REQUIRE_APPROVAL', 'THROTTLE', 'ALLOW_WITH_CONSTRAINTS']) {
      expect(seen.get(type) ?? 0, type).toBeGreaterThan(1_000)
    }
  },
)

it('replays from the recorded truths alone, without payload and clock', () => {
  const dice = new Dice(7)
  let withTruths = 0
  for (let round = 0; round < 600; round++) {
    const policy = compilePolicy(randomFiles(dice, 20), '')
    for (let count = 0; count < 10; count++) {
      const job = randomJob(dice)
      const first = evaluate(policy, job, {
        nowMs: 1_763_000_000_000 + dice.below(2_000_000_000),
        granted: [],
      })
      const again = evaluate(
        policy,
        { ...job, payload: 'gone' },
        { nowMs: 0, granted: [], truths: first.truths },
      )
      if (JSON.stringify([again, [...again.truths]]) !== JSON.stringify([first, [...first.truths]])) {
        expect(again).toEqual(first)
      }
      if (again.unanswered.length > 0) expect(again.unanswered).toEqual([])
      if (first.truths.size > 0) withTruths++
    }
  }
  expect(withTruths).toBeGreaterThan(500)
})

it('says which recorded truths are missing instead of guessing', () => {
  const files = [
    {
      version: 'v1' as const,
      rules: [{ id: 'r', match: { payload: { '/a': 1 } }, decision: 'allow' as const }],
    },
  ]
  const policy = compilePolicy(files, '')
  const job = {
    topic: 'job.a',
    tenant: 't',
    agent: 'a',
    riskTags: [],
    labels: new Map(),
    payload: { a: 1 },
    bytes: 9,
  }
  const blind = evaluate(policy, job, { nowMs: 0, granted: [], truths: new Map() })
  expect(blind.decision.type).toBe('DENY')
  expect(blind.unanswered).toEqual([...evaluate(policy, job, { nowMs: 0, granted: [] }).truths.keys()])
})

it('decides the same with and without remembering what sets of rules come to', () => {
  const dice = new Dice(11)
  for (let round = 0; round < 100; round++) {
    const policy = compilePolicy(randomFiles(dice, 30), '')
    const plain = { ...policy, merge: new Merge(policy.rules, 0) }
    const tight = { ...policy, merge: new Merge(policy.rules, 3) }
    for (let count = 0; count < 30; count++) {
      const job = randomJob(dice)
      const wanted = evaluate(plain, job, { nowMs: 0, granted: [] })
      expect(evaluate(policy, job, { nowMs: 0, granted: [] })).toEqual(wanted)
      expect(evaluate(tight, job, { nowMs: 0, granted: [] })).toEqual(wanted)
    }
  }
})
