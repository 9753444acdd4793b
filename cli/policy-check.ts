import { readFile } from 'node:fs/promises'
import { loadPolicyFiles, type PolicySource } from '../policy/load.ts'
import type { Problem } from '../policy/problem.ts'
import { exitCodes } from './exit-codes.ts'
import type { Call, Subcommand } from './subcommand.ts'
import { visible } from './visible.ts'

export const policyCheck: Subcommand = {
  about: 'does a policy load?',
  help: `usage: sluice policy check FILE...

Loads a policy exactly as the gateway does, without one: unknown keys and words, bad wildcards, doubled rule ids and
limits that nobody enforces are problems, each with file, line and column. Several files are loaded together, base files and
overlays. Exit code 0 if it loads, 78 if not.

  sluice policy check deploy/policy.yaml
`,
  options: {},
  words: { min: 1, max: 64 },
  run: check,
}

async function check(call: Call): Promise<number> {
  const { terminal, json } = call
  const sources: PolicySource[] = []
  for (const name of call.rest) {
    try {
      sources.push({ name, text: await readFile(name, 'utf8') })
    } catch (error) {
      terminal.err(`${visible(name)} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'failed'}`)
      return exitCodes.badConfiguration
    }
  }
  const loaded = loadPolicyFiles(sources)
  if (!loaded.ok) {
    if (json) terminal.out(JSON.stringify({ ok: false, problems: loaded.problems }))
    for (const problem of loaded.problems) terminal.err(problemText(problem, call.rest[0] ?? ''))
    return exitCodes.badConfiguration
  }
  const { snapshot, sourceHash, ruleCount } = loaded.policy
  if (json) terminal.out(JSON.stringify({ ok: true, rules: ruleCount, snapshot, source_hash: sourceHash }))
  else terminal.out(`ok: ${ruleCount} rules, what none of them allows is denied, snapshot ${snapshot}`)
  return exitCodes.ok
}

/** `policy.yaml:3:15: rules[0].decision: unknown decision "denny" (did you mean "deny"?)`. */
function problemText(problem: Problem, only: string): string {
  const place = [problem.file ?? only, problem.line, problem.column]
    .filter((part) => part !== undefined)
    .join(':')
  const { message, suggestion } = problem
  const hint =
    suggestion === undefined || message.includes('did you mean') ? '' : ` (did you mean "${suggestion}"?)`
  return visible(`${place}: ${message}${hint}`)
}
