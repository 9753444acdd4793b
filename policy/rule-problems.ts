import { attemptsTotalSecMax } from './evaluate.ts'
import { quoted, type Problem, type ProblemCode } from './problem.ts'
import type { PolicyFile, RuleFile } from './schema.ts'
import type { Locate } from './yaml-source.ts'

const dispatchTimeoutSec = 300

/** What a shape cannot say: ids that stand twice or are ours, and blocks that do not fit the decision. */
export function ruleProblems(file: PolicyFile, locate: Locate): Problem[] {
  const problems: Problem[] = []
  const seen = new Map<string, number>()
  for (const [index, rule] of file.rules.entries()) {
    const say = (code: ProblemCode, keys: readonly string[], at: 'key' | 'value', message: string) => {
      const place = locate(['rules', index, ...keys], at)
      problems.push({ code, message, path: ['rules[' + index + ']', ...keys].join('.'), ...place })
    }
    if (rule.id.startsWith('sluice.')) {
      say(
        'policy-reserved-rule',
        ['id'],
        'value',
        `the rule id ${quoted(rule.id)} is reserved: "sluice." is for built-in rules`,
      )
    }
    const earlier = seen.get(rule.id)
    if (earlier !== undefined) {
      const { line } = locate(['rules', earlier, 'id'], 'value')
      say(
        'policy-duplicate-rule',
        ['id'],
        'value',
        `the rule id ${quoted(rule.id)} is already used on line ${line}`,
      )
    }
    seen.set(rule.id, index)
    blockProblems(rule, say)
    if (rule.unless !== undefined && Object.keys(rule.unless).length === 0) {
      say(
        'policy-wrong-value',
        ['unless'],
        'key',
        '"unless: {}" covers everything, so the rule could never apply',
      )
    }
  }
  return problems
}

type Say = (code: ProblemCode, keys: readonly string[], at: 'key' | 'value', message: string) => void

/** Each block belongs to one decision; on another it would be read by a person and by nobody else. */
function blockProblems(rule: RuleFile, say: Say): void {
  const { decision, constraints, throttle, approval } = rule
  const limits = Object.values(constraints ?? {}).filter((limit) => limit !== undefined).length
  if (decision === 'allow_with_constraints' && limits === 0) {
    say(
      'policy-constraints',
      ['decision'],
      'value',
      'allow_with_constraints needs "constraints" with at least one limit',
    )
  }
  if (decision !== 'allow_with_constraints' && constraints !== undefined) {
    say(
      'policy-constraints',
      ['constraints'],
      'key',
      `"constraints" belong to allow_with_constraints, not to ${decision}`,
    )
  }
  if (decision === 'throttle' && throttle === undefined) {
    say('policy-throttle', ['decision'], 'value', 'throttle needs a "throttle" block with rate and per')
  }
  if (decision !== 'throttle' && throttle !== undefined) {
    say('policy-throttle', ['throttle'], 'key', `a "throttle" block belongs to throttle, not to ${decision}`)
  }
  if (decision !== 'require_approval' && approval !== undefined) {
    say(
      'policy-approval',
      ['approval'],
      'key',
      `an "approval" block belongs to require_approval, not to ${decision}`,
    )
  }
  const runtimeSec = constraints?.max_runtime_sec ?? dispatchTimeoutSec
  const totalSec = runtimeSec * (1 + (constraints?.max_retries ?? 0))
  if (totalSec > attemptsTotalSecMax) {
    say(
      'policy-constraints',
      ['constraints'],
      'key',
      `all attempts together may take ${attemptsTotalSecMax} s; ${runtimeSec} s and ${constraints?.max_retries ?? 0} retries make ${totalSec} s`,
    )
  }
}
