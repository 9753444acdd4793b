import { describe, expect, it } from 'vitest'
import { comparePolicies } from '../../policy/compare.ts'
import { compilePolicy } from '../../policy/compile.ts'
import { evaluate } from '../../policy/evaluate.ts'
import { lintPolicy } from '../../policy/lint.ts'
import type { Warning } from '../../policy/warning.ts'
import { loadPolicy } from '../../policy/load.ts'
import type { Policy } from '../../policy/rule.ts'
import { readScene, type Scene } from '../../policy/scene.ts'
import { looserIn, noticeable } from '../../policy/severity.ts'
import { topicProblem } from '../../policy/topic.ts'
import type { ConditionFile, PolicyFile } from '../../policy/schema.ts'
import type { Job } from '../../policy/job.ts'
import { naiveEvaluate } from './naive.ts'
import { Dice, randomFiles, randomJob } from './random-policy.ts'

const nowMs = 1_763_000_000_000

function policyOf(rules: string, more = ''): Policy {
  const loaded = loadPolicy(`version: v1\n${more}rules:\n${rules}`)
  if (!loaded.ok) throw new Error(loaded.problems[0]?.message)
  return loaded.policy
}

function warningsOf(rules: string, more = ''): readonly Warning[] {
  const { warnings, undecided } = lintPolicy(policyOf(rules, more))
  expect(undecided).toEqual([])
  return warnings
}

/** Reads what was printed, as a person would who puts it into a job file. */
function read(witness: unknown): Scene {
  const scene = readScene(JSON.parse(JSON.stringify(witness)))
  if (!scene.ok) throw new Error(scene.refusal.reason)
  return scene.scene
}

/** Jobs that a gateway would take; the generator makes others as well. */
function validJob(dice: Dice): Job {
  for (;;) {
    const job = randomJob(dice)
    if (topicProblem(job.topic) === undefined && !job.riskTags.includes('') && !job.labels.has('')) return job
  }
}

describe('warnings', () => {
  it('name those who would hear of an escalation and could do nothing', () => {
    const rule = (thresholds: string, to: string) =>
      `  - {id: ask, match: {}, decision: require_approval, approval: {thresholds: [${thresholds}], escalate_to: {${to}, after: 5m}}}\n`
    const past = [
      { code: 'escalates-past', rule_id: 'ask', message: expect.stringContaining('groups bosses,') },
    ]
    expect(warningsOf(rule('{from: {groups: [ops]}, approve: 1}', 'groups: [ops, bosses]'))).toEqual(past)
    expect(warningsOf(rule('{from: {roles: [bosses]}, approve: 1}', 'groups: [bosses]'))).toEqual(past)
    expect(warningsOf(rule('{from: {groups: [bosses]}, approve: 1}', 'groups: [bosses]'))).toEqual([])
    expect(warningsOf(rule('{approve: 1}', 'groups: [bosses]'))).toEqual([])
  })

  it.each([
    ['topics: ["job.a.*"]', 'topics: ["job.a.*"]', ['match.topics', 'unless']],
    ['risk_tags: {any: [x], none: [x]}', '', ['match.risk_tags']],
    ['labels: {env: {prefix: prod}}', 'labels: {env: {present: true}}', ['match.labels.env', 'unless']],
    ['payload: {/a: 1, /a/b: {exists: true}}', '', ['match.payload./a', 'match.payload./a/b']],
    ['size: {above: 250000}', 'size: {above: 200000}', ['match.size', 'unless']],
    ['size: {above: 262144}', '', ['match.size']],
    [
      'time: {zone: Europe/Berlin, from: "08:00", to: "10:00"}',
      'time: {zone: Europe/Berlin, from: "07:30", to: "10:00"}',
      ['match.time', 'unless'],
    ],
  ])(
    '%s unless %s can never match, and the clauses that exclude each other are named',
    (match, unless, conflict) => {
      const text = `  - {id: r, decision: allow, match: {${match}}${unless === '' ? '' : `, unless: {${unless}}`}}\n`
      expect(warningsOf(text)).toEqual([
        { code: 'never-matches', rule_id: 'r', message: expect.stringMatching(/can never match/), conflict },
      ])
    },
  )

  it('an untagged job cannot match what a derivation tags', () => {
    const derived = 'tags: [{add: [t], match: {topics: ["job.a.>"]}}]\n'
    const rule = '  - {id: r, decision: allow, match: {topics: ["job.a.b"], risk_tags: []}}\n'
    expect(warningsOf(rule, derived)).toMatchObject([
      { code: 'never-matches', conflict: ['match.topics', 'match.risk_tags'] },
    ])
  })

  it('a rule that one denial, or only several together, always goes before is covered', () => {
    const one = warningsOf(
      '  - {id: a, decision: allow, match: {topics: ["job.a.*"]}}\n  - {id: d, decision: deny, match: {topics: ["job.>"]}}\n',
    )
    expect(one).toMatchObject([{ code: 'covered', rule_id: 'a', other_rule_ids: ['d'] }])
    const two = warningsOf(`  - {id: a, decision: allow, match: {labels: {env: {one_of: [x, y]}}}}
  - {id: d1, decision: deny, match: {labels: {env: x}}}
  - {id: d2, decision: deny, match: {labels: {env: y}}}
`)
    expect(two).toMatchObject([{ code: 'covered', rule_id: 'a', other_rule_ids: ['d1', 'd2'] }])
  })

  it('an allowance that hangs on a tag which the agent must declare is told, until the policy derives the tag', () => {
    const rules =
      '  - {id: a, decision: allow, match: {topics: ["job.rm.*"]}}\n  - {id: d, decision: deny, match: {risk_tags: [gone]}}\n'
    const missing = warningsOf(rules).filter(({ code }) => code === 'missing-tag')
    expect(missing).toMatchObject([{ rule_id: 'a', other_rule_ids: ['d'] }])
    expect(missing[0]?.message).toContain('"gone"')
    expect(read(missing[0]?.witness).job).toMatchObject({ riskTags: [] })
    const derived = 'tags: [{add: [gone], match: {topics: ["job.rm.>"]}}]\n'
    expect(warningsOf(rules, derived).map(({ code }) => code)).toEqual(['covered'])
  })

  it('what only a job beyond the bounds of jobs could match is not shown by one', () => {
    const tags = Array.from({ length: 33 }, (_, at) => `t${at}`)
    const { warnings, undecided } = lintPolicy(
      policyOf(`  - {id: a, decision: allow, match: {risk_tags: {all: [${tags.join(', ')}]}}}
  - {id: d, decision: deny, match: {topics: ["job.a"]}}
`),
    )
    expect(warnings.filter(({ witness }) => witness !== undefined)).toEqual([])
    expect(undecided).toContain('whether a can match')
  })

  it('what is too large to search is said to be undecided', () => {
    const { undecided } = lintPolicy(policyOf('  - {id: a, decision: allow, match: {}}\n'), 0)
    expect(undecided).toEqual([expect.stringMatching(/more questions/)])
  })
})

/** Policies that would load; the generator also writes labels that no job can have. */
function validFiles(dice: Dice, rulesMax: number): PolicyFile[] {
  for (;;) {
    const files = randomFiles(dice, rulesMax)
    const covers = files.flatMap((file) => [...file.rules, ...(file.tags ?? [])])
    if (covers.every(({ match, unless }) => !hasEmptyLabel(match) && !hasEmptyLabel(unless))) return files
  }
}

function hasEmptyLabel(asked: ConditionFile | undefined): boolean {
  return Object.hasOwn(asked?.labels ?? {}, '')
}

/** The same policy with one rule or derivation taken from another. */
function mutated(dice: Dice, files: readonly PolicyFile[]): PolicyFile[] {
  const [base, ...rest] = files
  const other = validFiles(dice, 3)[0]
  if (base === undefined || other === undefined) return [...files]
  if (dice.chance(20))
    return [{ ...base, ...(other.tags === undefined ? {} : { tags: other.tags }) }, ...rest]
  const at = dice.below(base.rules.length)
  const rules = base.rules.map((rule, index) => {
    if (index !== at) return rule
    return { ...(other.rules[0] ?? rule), id: rule.id }
  })
  return [{ ...base, rules }, ...rest]
}

describe('held against random jobs', () => {
  const seed = Number(process.env['SLUICE_TEST_SEED'] ?? 20_261_122)

  it('no job matches what is said never to match or never to overlap, and every witness is true', () => {
    const dice = new Dice(seed)
    let never = 0
    let witnesses = 0
    for (let round = 0; round < 50; round++) {
      const files = validFiles(dice, 8)
      const policy = compilePolicy(files, '')
      const { warnings, undecided } = lintPolicy(policy)
      const dead = new Set(
        warnings
          .filter(({ code }) => code === 'never-matches' || code === 'covered')
          .map(({ rule_id }) => rule_id),
      )
      for (const { code, rule_id, other_rule_ids: others = [], witness } of warnings) {
        if (code === 'never-matches') never++
        if (witness === undefined) continue
        const { job, nowMs: atMs } = read(witness)
        const naive = naiveEvaluate(files, job, { nowMs: atMs ?? 1_767_614_400_000, granted: [] })
        if (code === 'overlap') expect(naive.matched).toEqual(expect.arrayContaining([rule_id, ...others]))
        else expect(naive.matched).toContain(rule_id)
        witnesses++
      }
      const overlaps = new Set(
        warnings
          .filter(({ code }) => code === 'overlap')
          .map(({ rule_id, other_rule_ids }) => `${rule_id} ${other_rule_ids?.[0]}`),
      )
      const words = new Map(policy.rules.map(({ id, decision }) => [id, decision]))
      for (let count = 0; count < 60; count++) {
        const { type, ruleId, matched } = naiveEvaluate(files, validJob(dice), { nowMs, granted: [] })
        if (type !== 'DENY') expect([...dead]).not.toContain(ruleId)
        for (const id of matched) {
          expect(warnings.some(({ code, rule_id }) => code === 'never-matches' && rule_id === id)).toBe(false)
          for (const other of matched) {
            if (words.get(id) !== 'allow' || words.get(other) !== 'deny' || dead.has(id)) continue
            const told = overlaps.has(`${id} ${other}`) || undecided.some((text) => text.includes(id))
            expect(told, `${round}: ${id} and ${other}`).toBe(true)
          }
        }
      }
    }
    expect(never).toBeGreaterThan(4)
    expect(witnesses).toBeGreaterThan(40)
  })

  it('a complete comparison misses no difference and no loosening, and every witness is one', () => {
    const dice = new Dice(seed + 1)
    const seen = { complete: 0, equal: 0, differences: 0, strict: 0 }
    for (let round = 0; round < 60; round++) {
      const files = validFiles(dice, 6)
      const before = compilePolicy(files, '')
      const after = compilePolicy(mutated(dice, files), '')
      const found = comparePolicies(before, after)
      const loose = comparePolicies(before, after, true)
      for (const { witness, looser } of [...found.differences, ...loose.differences]) {
        const { job, nowMs: atMs } = read(witness)
        const facts = { nowMs: atMs ?? 1_767_614_400_000, granted: [] }
        const was = evaluate(before, job, facts)
        const is = evaluate(after, job, facts)
        expect(noticeable(was)).not.toBe(noticeable(is))
        expect(looserIn(was, is)).toBe(looser)
        seen.differences++
      }
      if (found.complete) seen.complete++
      if (found.complete && found.differences.length === 0) seen.equal++
      if (loose.complete && loose.differences.length === 0) seen.strict++
      for (let count = 0; count < 80; count++) {
        const job = validJob(dice)
        const was = evaluate(before, job, { nowMs, granted: [] })
        const is = evaluate(after, job, { nowMs, granted: [] })
        if (found.complete && found.differences.length === 0) expect(noticeable(is)).toBe(noticeable(was))
        if (loose.complete && loose.differences.length === 0) expect(looserIn(was, is)).toBeUndefined()
      }
    }
    expect(seen.complete).toBeGreaterThan(40)
    expect(seen.differences).toBeGreaterThan(40)
    expect(Math.min(seen.equal, seen.strict)).toBeGreaterThan(1)
  })
})
