import { evaluate } from './evaluate.ts'
import { coverFormula, not } from './formula.ts'
import type { Job } from './job.ts'
import type { Policy, Rule, TagCondition } from './rule.ts'
import { sceneOf } from './scene.ts'
import { outcomeOf, severityOf } from './severity.ts'
import { formulaOf, type Looking } from './warning.ts'

/**
 * Rules that allow what a stricter rule would have stopped if the agent had declared its tags. An agent that forgets one must not
 * get further for it: such tags should be derived.
 */
export function lintTags(
  looking: Looking,
  rules: readonly Rule[],
  pairs: (rule: Rule) => readonly Rule[],
): void {
  for (const stricter of rules) {
    const { riskTags } = stricter.match
    if (riskTags?.any === undefined && riskTags?.all === undefined) continue
    for (const allowing of pairs(stricter)) {
      if (allowing.overlay || severityOf[outcomeOf[allowing.decision]] > severityOf.ALLOW_WITH_CONSTRAINTS)
        continue
      if (severityOf[outcomeOf[stricter.decision]] > severityOf[outcomeOf[allowing.decision]])
        lintPair(looking, allowing, stricter, riskTags)
    }
  }
}

function lintPair(looking: Looking, allowing: Rule, stricter: Rule, tags: TagCondition): void {
  const { policy } = looking
  const { riskTags: _tags, ...untagged } = stricter.match
  const rank = severityOf[outcomeOf[stricter.decision]]
  const others = policy.rules.filter((rule) => severityOf[outcomeOf[rule.decision]] >= rank)
  const found = looking.search([
    formulaOf(looking, allowing),
    coverFormula({ match: untagged, unless: stricter.unless }, policy.derivations),
    ...others.map((rule) => not(formulaOf(looking, rule))),
  ])
  if (found === undefined || found.type === 'none') return
  const missing =
    found.type === 'found' ? missingTags(policy, found.sample.job, found.sample.nowMs, tags, rank) : undefined
  if (found.type === 'undecided' || missing === undefined) {
    looking.undecided.push(`whether a missing tag lets ${allowing.id} allow what ${stricter.id} would not`)
    return
  }
  const names = missing.map((tag) => JSON.stringify(tag)).join(' and ')
  looking.warnings.push({
    code: 'missing-tag',
    rule_id: allowing.id,
    message: `allows a job that ${stricter.id} would ${wordOf(stricter)} if the agent declared ${names}; derive the tag under "tags:"`,
    other_rule_ids: [stricter.id],
    witness: sceneOf(found.sample),
  })
}

/** The tags that are all it takes to be decided more strictly, as the evaluator itself says. */
function missingTags(
  policy: Policy,
  job: Job,
  nowMs: number,
  { any, all }: TagCondition,
  rank: number,
): readonly string[] | undefined {
  const strict = (declared: readonly string[]): boolean => {
    const riskTags = [...new Set([...job.riskTags, ...declared])]
    const { type } = evaluate(policy, { ...job, riskTags }, { nowMs, granted: [] }).decision
    return severityOf[type] >= rank
  }
  if (strict([])) return undefined
  const choices = (any ?? [undefined]).map((tag) => [...(all ?? []), ...(tag === undefined ? [] : [tag])])
  const choice = choices.find(strict)
  return choice?.filter((tag) => !job.riskTags.includes(tag))
}

function wordOf({ decision }: Rule): string {
  switch (decision) {
    case 'deny':
      return 'deny'
    case 'require_approval':
      return 'hold for a person'
    case 'throttle':
      return 'limit'
    case 'allow_with_constraints':
      return 'constrain'
    case 'allow':
      return 'allow'
  }
}
