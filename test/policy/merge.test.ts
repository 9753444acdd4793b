import { describe, expect, it } from 'vitest'
import { compilePolicy } from '../../policy/compile.ts'
import { approvalLevels } from '../../policy/merge-approval.ts'
import { evaluate, type Evaluation, type Facts } from '../../policy/evaluate.ts'
import type { Job } from '../../policy/job.ts'
import { loadPolicy } from '../../policy/load.ts'
import type { Policy } from '../../policy/rule.ts'
import type { PolicyFile } from '../../policy/schema.ts'
import { Dice, randomFiles, randomJob } from './random-policy.ts'

const facts: Facts = { nowMs: 1_763_000_000_000, granted: [] }

const someJob: Job = {
  topic: 'job.a.b',
  tenant: 'acme',
  agent: 'demo',
  riskTags: [],
  labels: new Map(),
  payload: undefined,
  bytes: 2,
}

function policyOf(...rules: string[]): Policy {
  const loaded = loadPolicy(`version: v1\nrules:\n${rules.map((rule) => `  - ${rule}\n`).join('')}`)
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
  return loaded.policy
}

function shuffled<Item>(dice: Dice, items: readonly Item[]): Item[] {
  const left = [...items]
  return items.flatMap(() => left.splice(dice.below(left.length), 1))
}

function shuffledFile(dice: Dice, file: PolicyFile): PolicyFile {
  return {
    ...file,
    rules: shuffled(dice, file.rules),
    ...(file.tags === undefined ? {} : { tags: shuffled(dice, file.tags) }),
  }
}

/** Comparing texts first keeps thousands of comparisons quick; a difference is then shown properly. */
function expectSame(found: unknown, wanted: unknown): void {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) expect(found).toEqual(wanted)
}

describe('order', () => {
  it('of rules, derivations, files and overlays never changes a decision or the snapshot', () => {
    const dice = new Dice(42)
    for (let round = 0; round < 250; round++) {
      const files = randomFiles(dice, 16)
      const policy = compilePolicy(files, '')
      const other = compilePolicy(
        shuffled(dice, files).map((file) => shuffledFile(dice, file)),
        '',
      )
      expect(other.snapshot).toBe(policy.snapshot)
      for (let count = 0; count < 25; count++) {
        const job = randomJob(dice)
        expectSame(evaluate(other, job, facts), evaluate(policy, job, facts))
      }
    }
  })

  it("of a job's tags and of earlier jobs never changes a decision", () => {
    const dice = new Dice(43)
    for (let round = 0; round < 100; round++) {
      const files = randomFiles(dice, 16)
      const used = compilePolicy(files, '')
      for (let count = 0; count < 10; count++) {
        const job = randomJob(dice)
        const fresh = evaluate(
          compilePolicy(files, ''),
          { ...job, riskTags: job.riskTags.toReversed() },
          facts,
        )
        expectSame(evaluate(used, job, facts).decision, fresh.decision)
      }
    }
  })
})

/** How far a job is from running: more is stricter. */
function strictness({ decision, throttles, approval }: Evaluation): readonly number[] {
  if (decision.type === 'DENY') return Array.from({ length: 8 }, () => Infinity)
  const { constraints } = decision
  return [
    throttles.length,
    approval?.rules.length ?? 0,
    approval?.waitAtLeastMs ?? 0,
    approvalLevels.indexOf(approval?.level ?? 'normal'),
    -(approval?.expiresInMs ?? Infinity),
    -(approval?.remindAfterMs ?? Infinity),
    -(constraints?.max_runtime_sec ?? Infinity),
    -(constraints?.max_retries ?? Infinity),
  ]
}

describe('an overlay', () => {
  it('can only tighten: whatever it says, no job gets further than without it', () => {
    const dice = new Dice(44)
    let tightened = 0
    for (let round = 0; round < 800; round++) {
      const [base, overlay] = randomFiles(dice, 16)
      if (base === undefined || overlay === undefined) continue
      const without = compilePolicy([base], '')
      const withOverlay = compilePolicy([base, overlay], '')
      for (let count = 0; count < 25; count++) {
        const job = randomJob(dice)
        const before = strictness(evaluate(without, job, facts))
        const after = strictness(evaluate(withOverlay, job, facts))
        if (!after.every((value, index) => value >= (before[index] ?? NaN)))
          expect({ after, job }).toEqual({ after: before, job })
        if (String(before) !== String(after)) tightened++
      }
    }
    expect(tightened).toBeGreaterThan(100)
  })
})

describe('all matching rules count', () => {
  const allow = '{id: allow, match: {}, decision: allow}'
  const limit = '{id: limit, match: {}, decision: throttle, throttle: {rate: 2, per: 1s, max_wait: 3s}}'
  const ask = '{id: ask, match: {}, decision: require_approval, reason: "a person must look"}'
  const bound = '{id: bound, match: {}, decision: allow_with_constraints, constraints: {max_runtime_sec: 9}}'
  const deny = '{id: deny, match: {}, decision: deny}'
  const granted = { ...facts, granted: ['limit'] }

  it.each([
    ['allow', [allow], facts, 'ALLOW', 'allow'],
    ['allow and constraints', [allow, bound], facts, 'ALLOW_WITH_CONSTRAINTS', 'bound'],
    ['a limit', [limit], facts, 'THROTTLE', 'limit'],
    ['a limit with room', [limit], granted, 'ALLOW', 'limit'],
    ['a limit with room, and allow', [limit, allow], granted, 'ALLOW', 'allow'],
    ['a limit with room, and constraints', [limit, bound], granted, 'ALLOW_WITH_CONSTRAINTS', 'bound'],
    ['an approval and a limit', [ask, limit], facts, 'THROTTLE', 'limit'],
    ['an approval and a limit with room', [ask, limit], granted, 'REQUIRE_APPROVAL', 'ask'],
    ['an approval and constraints', [ask, bound], facts, 'REQUIRE_APPROVAL', 'ask'],
    ['everything', [allow, limit, ask, bound, deny], granted, 'DENY', 'deny'],
    [
      'nothing',
      ['{id: never, match: {tenants: [nobody]}, decision: allow}'],
      facts,
      'DENY',
      'sluice.no-match',
    ],
  ] as const)('%s', (_, rules, when, type, ruleId) => {
    const { decision } = evaluate(policyOf(...rules), someJob, when)
    expect(decision).toMatchObject({ type, rule_id: ruleId })
    expect(decision.reason).not.toBe('')
  })

  it('and no obligation is lost on the way: constraints and approval show behind the limit', () => {
    const { decision, throttles, approval } = evaluate(policyOf(allow, limit, ask, bound), someJob, facts)
    expect(decision.constraints).toEqual({ max_runtime_sec: 9 })
    expect(decision.matched).toEqual(['allow', 'ask', 'bound', 'limit'])
    expect(throttles).toEqual([
      {
        ruleId: 'limit',
        rate: 2,
        perMs: 1_000,
        burst: 2,
        maxWaitMs: 3_000,
        onLimit: 'wait',
        keyedBy: [],
        key: 'limit',
      },
    ])
    expect(approval).toMatchObject({ rules: ['ask'], expiresInMs: 3_600_000 })
  })

  it('but a denial has no obligations', () => {
    const denied = evaluate(policyOf(allow, limit, ask, bound, deny), someJob, facts)
    expect(denied).toMatchObject({
      throttles: [],
      approval: null,
      output: null,
      decision: { constraints: null },
    })
  })

  it('and of equals the lowest id in byte order is named', () => {
    const named = (...ids: string[]) =>
      evaluate(policyOf(...ids.map((id) => `{id: ${id}, match: {}, decision: deny}`)), someJob, facts)
        .decision.rule_id
    expect(named('b', 'a', 'B')).toBe('B')
    expect(named('a10', 'a9', 'a-1')).toBe('a-1')
  })

  it("and the reason is the named rule's own, or a sentence that names it", () => {
    expect(evaluate(policyOf(ask), someJob, facts).decision.reason).toBe('a person must look')
    expect(evaluate(policyOf(deny), someJob, facts).decision.reason).toBe('Rule deny denies this job.')
  })

  it('and retries give way when two rules together would run beyond an hour', () => {
    const long =
      '{id: long, match: {}, decision: allow_with_constraints, constraints: {max_runtime_sec: 1200}}'
    const often = '{id: often, match: {}, decision: allow_with_constraints, constraints: {max_retries: 11}}'
    expect(evaluate(policyOf(long, often), someJob, facts).decision.constraints).toEqual({
      max_runtime_sec: 1_200,
      max_retries: 2,
    })
  })
})

describe('requirements that join', () => {
  it("ask for every rule's approval, hold for the shortest time, and exclude all that any excludes", () => {
    const policy = policyOf(
      '{id: one, match: {}, decision: require_approval, approval: {expires_in: 10m, exclude: [agent_owner], thresholds: [{from: {groups: [ops]}, approve: 2}]}}',
      '{id: two, match: {}, decision: require_approval, approval: {expires_in: 5m, use_within: 1m}}',
    )
    expect(evaluate(policy, someJob, facts).approval).toEqual({
      id: expect.stringMatching(/^[0-9a-z]{12}$/) as string,
      rules: ['one', 'two'],
      expiresInMs: 300_000,
      useWithinMs: 60_000,
      exclude: ['agent_owner', 'submitter'],
      demands: [
        { rule: 'one', thresholds: [{ from: { kind: 'groups', names: ['ops'] }, approve: 2, deny: 1 }] },
        { rule: 'two', thresholds: [{ from: { kind: 'anyone', names: [] }, approve: 1, deny: 1 }] },
      ],
      remindAfterMs: null,
      escalations: [],
      waitAtLeastMs: 0,
      level: 'normal',
    })
  })

  it('take the earliest reminder, the longest wait, the highest level and all escalations', () => {
    const policy = policyOf(
      '{id: one, match: {}, decision: require_approval, approval: {remind_at: 9m, wait_at_least: 1m, level: high, escalate_to: {groups: [b, a], after: 20m}}}',
      '{id: two, match: {}, decision: require_approval, approval: {remind_at: 5m, wait_at_least: 2m, level: critical, escalate_to: [{persons: [ann], after: 10m}, {groups: [a, b], after: 20m}]}}',
      '{id: three, match: {}, decision: require_approval}',
    )
    expect(evaluate(policy, someJob, facts).approval).toMatchObject({
      remindAfterMs: 300_000,
      waitAtLeastMs: 120_000,
      level: 'critical',
      escalations: [
        { to: { kind: 'persons', names: ['ann'] }, afterMs: 600_000 },
        { to: { kind: 'groups', names: ['a', 'b'] }, afterMs: 1_200_000 },
      ],
    })
  })

  it('have the same id exactly when the same rules ask for the same', () => {
    const idOf = (...rules: string[]) => evaluate(policyOf(...rules), someJob, facts).approval?.id
    const one = '{id: one, match: {}, decision: require_approval}'
    expect(idOf(one, '{id: x, match: {}, decision: allow}')).toBe(idOf(one))
    expect(idOf('{id: one, match: {tenants: [acme]}, decision: require_approval}')).toBe(idOf(one))
    expect(idOf('{id: one, match: {}, decision: require_approval, approval: {expires_in: 2h}}')).not.toBe(
      idOf(one),
    )
    expect(idOf('{id: two, match: {}, decision: require_approval}')).not.toBe(idOf(one))
    const withTerms = (terms: string) =>
      idOf(`{id: one, match: {}, decision: require_approval, approval: {${terms}}}`)
    expect(withTerms('level: high')).not.toBe(idOf(one))
    expect(withTerms('wait_at_least: 1s')).not.toBe(idOf(one))
    // Who hears of it changes nothing about what is asked.
    expect(withTerms('level: normal, remind_at: 1m, escalate_to: {groups: [x], after: 2m}')).toBe(idOf(one))
  })

  it('keep back an output for what one rule quarantines though another only redacts it', () => {
    const policy = policyOf(
      '{id: one, match: {}, decision: allow, output: {redact: [payment-card, secret]}}',
      '{id: two, match: {}, decision: allow, output: {quarantine: [payment-card]}}',
    )
    expect(evaluate(policy, someJob, facts).output).toEqual({
      quarantine: ['payment-card'],
      redact: ['secret'],
    })
  })
})

describe('a throttle with a key', () => {
  const keyed = policyOf(
    '{id: limit, match: {}, decision: throttle, throttle: {rate: 4, per: 1s, burst: 2, key: [topic, tenant, actor, "label:env"], on_limit: deny}}',
  )
  const keyOf = (job: Job) => evaluate(keyed, job, facts).throttles[0]?.key

  it('counts apart what differs in the key, and together what does not', () => {
    expect(keyOf(someJob)).toBe('["limit","acme.demo",null,"acme","job.a.b"]')
    expect(keyOf({ ...someJob, bytes: 9 })).toBe(keyOf(someJob))
    expect(keyOf({ ...someJob, labels: new Map([['env', 'null']]) })).not.toBe(keyOf(someJob))
    expect(keyOf({ ...someJob, agent: 'x' })).not.toBe(keyOf(someJob))
  })

  it('does not wait when it denies at the limit', () => {
    expect(evaluate(keyed, someJob, facts).throttles).toMatchObject([
      { onLimit: 'deny', maxWaitMs: 0, burst: 2 },
    ])
  })
})

describe('derived tags', () => {
  const loaded = loadPolicy(`version: v1
risk_tiers: {high: [prod], low: [demo]}
tags:
  - add: [prod]
    match: {labels: {env: {one_of: [production, live]}}}
rules:
  - {id: allow, match: {}, decision: allow}
  - {id: ask, match: {risk_tags: [prod]}, decision: require_approval}
`)
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
  const live = { ...someJob, labels: new Map([['env', 'live']]) }

  it('count like declared ones, whether the agent declares them or not', () => {
    expect(evaluate(loaded.policy, live, facts)).toMatchObject({
      decision: { type: 'REQUIRE_APPROVAL', risk_tier: 'high' },
      tags: { declared: [], derived: ['prod'] },
    })
  })

  it('cannot be taken away by declaring others', () => {
    const job = { ...live, riskTags: ['demo', 'safe'] }
    expect(evaluate(loaded.policy, job, facts)).toMatchObject({
      decision: { type: 'REQUIRE_APPROVAL', risk_tier: 'high' },
      tags: { declared: ['demo', 'safe'], derived: ['prod'] },
    })
    expect(evaluate(loaded.policy, { ...job, labels: new Map() }, facts).decision).toMatchObject({
      risk_tier: 'low',
    })
    expect(evaluate(loaded.policy, someJob, facts).decision).not.toHaveProperty('risk_tier')
  })
})
