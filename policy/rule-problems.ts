import { attemptsTotalSecMax } from './constraints.ts'
import { quoted, type Problem, type ProblemCode } from './problem.ts'
import { written } from './schema-problem.ts'
import type { PolicyFile, RuleFile } from './schema.ts'
import type { Locate } from './yaml-source.ts'

/** A file of the right shape, with the way back to its lines. */
export type CheckedFile = { readonly file: PolicyFile; readonly locate: Locate; readonly name?: string }

/** What an attempt may take when no constraint says so; the gateway's own default. */
const dispatchTimeoutSec = 300

/** What a shape cannot say: ids that stand twice or are ours, blocks that do not fit the decision, overlays that would loosen. */
export function fileProblems(files: readonly CheckedFile[]): Problem[] {
  const problems: Problem[] = []
  const seen = new Map<string, () => string>()
  for (const checked of files) {
    const { file, locate, name } = checked
    for (const [index, rule] of file.rules.entries()) {
      const say: Say = (code, keys, at, message) => {
        const problem = problemAt(checked, code, ['rules', index, ...keys], message)
        problems.push({ ...problem, ...locate(['rules', index, ...keys], at) })
      }
      idProblems(rule, say, seen.get(rule.id)?.())
      if (!seen.has(rule.id)) {
        seen.set(rule.id, () => {
          const { line } = locate(['rules', index, 'id'], 'value')
          return name === undefined ? `line ${line}` : `line ${line} of ${name}`
        })
      }
      blockProblems(rule, say)
      if (file.overlay !== undefined) overlayRuleProblems(rule, file.overlay.tenants, say)
    }
    problems.push(...derivationProblems(checked))
  }
  const [first] = files
  if (first !== undefined && files.every(({ file }) => file.overlay !== undefined)) {
    const message = 'there are only overlays; without a base policy nothing is allowed'
    problems.push(problemAt(first, 'policy-overlay', ['overlay'], message))
  }
  return problems
}

function problemAt(
  { locate, name }: CheckedFile,
  code: ProblemCode,
  path: readonly PropertyKey[],
  message: string,
): Problem {
  return {
    code,
    message,
    path: written(path),
    ...locate(path, 'key'),
    ...(name === undefined ? {} : { file: name }),
  }
}

type Say = (code: ProblemCode, keys: readonly string[], at: 'key' | 'value', message: string) => void

function idProblems(rule: RuleFile, say: Say, earlier: string | undefined): void {
  if (rule.id.startsWith('sluice.')) {
    say(
      'policy-reserved-rule',
      ['id'],
      'value',
      `the rule id ${quoted(rule.id)} is reserved: "sluice." is for built-in rules`,
    )
  }
  if (earlier !== undefined) {
    say(
      'policy-duplicate-rule',
      ['id'],
      'value',
      `the rule id ${quoted(rule.id)} is already used on ${earlier}`,
    )
  }
  if (rule.unless !== undefined && Object.keys(rule.unless).length === 0) {
    say('policy-wrong-value', ['unless'], 'key', emptyUnless)
  }
}

/** Each block belongs to one decision; on another it would be read by a person and by nobody else. */
function blockProblems(rule: RuleFile, say: Say): void {
  const { decision, constraints, throttle, approval, output } = rule
  if (decision === 'allow_with_constraints' && Object.keys(constraints ?? {}).length === 0) {
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
  if (decision === 'deny' && output !== undefined) {
    say('policy-wrong-value', ['output'], 'key', 'an "output" block has no meaning on deny: nothing runs')
  }
  const runtimeSec = constraints?.max_runtime_sec ?? dispatchTimeoutSec
  const retries = constraints?.max_retries ?? 0
  const totalSec = runtimeSec * (1 + retries)
  if (totalSec > attemptsTotalSecMax) {
    const sum = `1 attempt and ${retries} retries of ${runtimeSec} s make ${totalSec} s`
    say(
      'policy-constraints',
      ['constraints'],
      'key',
      `all attempts together may take ${attemptsTotalSecMax} s; ${sum}`,
    )
  }
}

/** An overlay may only tighten: it grants nothing, and only speaks about its own tenants. */
function overlayRuleProblems(rule: RuleFile, tenants: readonly string[], say: Say): void {
  if (rule.decision === 'allow') {
    say(
      'policy-overlay',
      ['decision'],
      'value',
      'an overlay may only tighten; "allow" grants and belongs into a base file',
    )
  }
  const stranger = rule.match.tenants?.find((tenant) => !tenants.includes(tenant))
  if (stranger !== undefined) {
    say(
      'policy-overlay',
      ['match', 'tenants'],
      'value',
      `${quoted(stranger)} is not one of the overlay's tenants`,
    )
  }
}

/** Derivations that cover nothing, and, in an overlay, whatever could reach a base rule that allows: that would loosen. */
function derivationProblems(checked: CheckedFile): Problem[] {
  const { file } = checked
  const problems = (file.tags ?? []).flatMap(({ unless }, index) =>
    unless === undefined || Object.keys(unless).length > 0
      ? []
      : [problemAt(checked, 'policy-wrong-value', ['tags', index, 'unless'], emptyUnless)],
  )
  if (file.overlay === undefined) return problems
  for (const key of ['tags', 'risk_tiers'] as const) {
    if (file[key] === undefined) continue
    const message = `"${key}" cannot stand in an overlay: rules that allow could match by them; put it into a base file`
    problems.push(problemAt(checked, 'policy-overlay', [key], message))
  }
  return problems
}

const emptyUnless = '"unless: {}" covers everything, so this could never apply'
