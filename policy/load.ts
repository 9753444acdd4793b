import { compilePolicy } from './compile.ts'
import type { Problem } from './problem.ts'
import type { Policy } from './rule.ts'
import { ruleProblems } from './rule-problems.ts'
import { knownKeys } from './schema-keys.ts'
import { problemsOfIssue } from './schema-problem.ts'
import { policyFile } from './schema.ts'
import { readYaml } from './yaml-source.ts'

export type { Policy, Rule } from './rule.ts'

/** A loaded policy, or every reason why the text is none, in the order in which they stand in it. */
export type LoadedPolicy =
  | { readonly ok: true; readonly policy: Policy }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/**
 * A policy from the text of one YAML file. Strict: whatever is unknown, doubled or contradictory is a problem, never skipped
 * or guessed. `fileName` is put in front of the messages. Never throws for what the text says.
 */
export function loadPolicy(text: string, fileName?: string): LoadedPolicy {
  const loaded = load(text)
  if (loaded.ok || fileName === undefined) return loaded
  return {
    ok: false,
    problems: loaded.problems.map((problem) => ({ ...problem, message: `${fileName}: ${problem.message}` })),
  }
}

function load(text: string): LoadedPolicy {
  const read = readYaml(text)
  if (!read.ok) return read
  const { value, locate } = read.source
  if (value === null || value === undefined) {
    return {
      ok: false,
      problems: [
        {
          code: 'policy-empty',
          message: 'the file is empty; a policy needs version and rules',
          line: 1,
          column: 1,
        },
      ],
    }
  }
  const shaped = policyFile.safeParse(value)
  if (!shaped.success) {
    const problems = shaped.error.issues.flatMap((issue) => problemsOfIssue(issue, knownKeys, locate, value))
    return { ok: false, problems: inOrder(problems) }
  }
  const problems = ruleProblems(shaped.data, locate)
  if (problems.length > 0) return { ok: false, problems: inOrder(problems) }
  return { ok: true, policy: compilePolicy(shaped.data, text) }
}

function inOrder(problems: readonly Problem[]): readonly Problem[] {
  return problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0))
}
