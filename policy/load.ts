import { compileParts, compilePolicy, type PolicyParts } from './compile.ts'
import { canonicalJson, sha256Hex } from './digest.ts'
import type { Problem } from './problem.ts'
import type { Policy } from './rule.ts'
import { fileProblems, type CheckedFile } from './rule-problems.ts'
import { keysIn } from './schema-keys.ts'
import { problemsOfIssue } from './schema-problem.ts'
import { policyFile, type PolicyFile } from './schema.ts'
import { readYaml } from './yaml-source.ts'

export type { Policy } from './rule.ts'

/** A loaded policy, or every reason why the text is none, in the order in which they stand in it. */
export type LoadedPolicy =
  | { readonly ok: true; readonly policy: Policy }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** One file of a policy. `name` is only for messages. */
export type PolicySource = { readonly name?: string; readonly text: string }

/**
 * A policy from the text of one YAML file. Strict: whatever is unknown, doubled or contradictory is a problem, never skipped
 * or guessed. Never throws for what the text says.
 */
export function loadPolicy(text: string, fileName?: string): LoadedPolicy {
  return loadPolicyFiles([fileName === undefined ? { text } : { name: fileName, text }])
}

/**
 * A policy from several files: base files, whose rules stand beside each other, and overlays, which name their tenants and may
 * only tighten what the base allows them. The order of the files does not matter.
 */
export function loadPolicyFiles(sources: readonly PolicySource[]): LoadedPolicy {
  const checked = checkPolicyFiles(sources)
  return checked.ok ? { ok: true, policy: compilePolicy(checked.files, checked.sourceHash) } : checked
}

/** The same as plain data, for a thread that assembles the policy itself. */
export function loadPolicyParts(
  sources: readonly PolicySource[],
): { readonly ok: true; readonly parts: PolicyParts } | Extract<LoadedPolicy, { ok: false }> {
  const checked = checkPolicyFiles(sources)
  return checked.ok ? { ok: true, parts: compileParts(checked.files, checked.sourceHash) } : checked
}

type Checked =
  | { readonly ok: true; readonly files: readonly PolicyFile[]; readonly sourceHash: string }
  | { readonly ok: false; readonly problems: readonly Problem[] }

function checkPolicyFiles(sources: readonly PolicySource[]): Checked {
  const problems: Problem[] = []
  const files: CheckedFile[] = []
  for (const source of sources) {
    const shaped = shape(source)
    if (shaped.ok) files.push(shaped.checked)
    else problems.push(...shaped.problems)
  }
  if (problems.length === 0) problems.push(...fileProblems(files))
  if (problems.length > 0) return { ok: false, problems }
  return { ok: true, files: files.map((checked) => checked.file), sourceHash: sourceHashOf(sources) }
}

/** One file's hash is that of its text; several files' that of the sorted list of theirs. */
function sourceHashOf(sources: readonly PolicySource[]): string {
  const hashes = sources.map((source) => sha256Hex(source.text))
  return hashes.length === 1 && hashes[0] !== undefined
    ? hashes[0]
    : sha256Hex(canonicalJson(hashes.toSorted()))
}

type Shaped =
  | { readonly ok: true; readonly checked: CheckedFile }
  | { readonly ok: false; readonly problems: readonly Problem[] }

function shape({ name, text }: PolicySource): Shaped {
  const named = (problems: readonly Problem[]): Shaped => ({ ok: false, problems: inOrder(problems, name) })
  const read = readYaml(text)
  if (!read.ok) return named(read.problems)
  const { value, locate } = read.source
  if (value === null || value === undefined) {
    return named([
      {
        code: 'policy-empty',
        message: 'the file is empty; a policy needs version and rules',
        line: 1,
        column: 1,
      },
    ])
  }
  const parsed = policyFile.safeParse(value)
  if (parsed.success)
    return { ok: true, checked: { file: parsed.data, locate, ...(name === undefined ? {} : { name }) } }
  const problems = parsed.error.issues.flatMap((issue) =>
    problemsOfIssue(issue, keysIn(policyFile), locate, value),
  )
  return named(problems.filter((problem) => !followsFromUnknownKey(problem, problems)))
}

/** A misspelt key also leaves its group incomplete; saying so as well would only hide the cause. */
function followsFromUnknownKey(problem: Problem, problems: readonly Problem[]): boolean {
  if (problem.code !== 'policy-wrong-value') return false
  return problems.some(
    ({ code, path }) => code === 'policy-unknown-key' && path?.startsWith(`${problem.path}.`),
  )
}

function inOrder(problems: readonly Problem[], name: string | undefined): readonly Problem[] {
  const sorted = problems.toSorted(
    (a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0),
  )
  return name === undefined ? sorted : sorted.map((problem) => ({ ...problem, file: name }))
}
