import { writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { readSuite, runSuite, type SuiteRun } from '../policy/suite.ts'
import { exitCodes } from './exit-codes.ts'
import { readPolicy, readText, tellProblems } from './policy-files.ts'
import { junitText, type Ran } from './policy-junit.ts'
import { outputHelp, UsageError, type Call, type Subcommand } from './subcommand.ts'
import { tableText } from './table-text.ts'

export const policyTest: Subcommand = {
  about: 'run suites of jobs and wanted decisions',
  help: `usage: sluice policy test SUITE.yaml... [--policy FILE]... [--junit FILE] [--covered]

Runs suites: jobs, and the decision, rule and constraints that are wanted of them. A suite names its policy; --policy
puts others in its place. The clock stands still, so that a suite says the same on every day. Exit code 0 if everything
is as wanted, 1 if not, 78 if a suite or a policy does not load.

  --policy FILE     several times for several files
  --junit FILE      the outcome as JUnit XML as well
  --covered         a rule that no test matches is a failure

  sluice policy test deploy/policy.test.yaml
`,
  sharedHelp: outputHelp,
  options: { policy: 'list', junit: 'text', covered: 'flag' },
  words: { min: 1, max: 256 },
  run: test,
}

async function test(call: Call): Promise<number> {
  const ran: Ran[] = []
  for (const file of call.rest) {
    const one = await runFile(call, file)
    if (!one.ok) return one.code
    ran.push({ file, run: one.run })
  }
  const failed = ran
    .flatMap(({ run }) => run.tried)
    .filter(({ differences }) => differences.length > 0).length
  const uncovered = uncoveredRules(ran)
  const { junit } = call.text
  if (junit !== undefined) await writeFile(junit, junitText(ran))
  if (call.json) call.terminal.out(JSON.stringify(asJson(ran, failed, uncovered)))
  else show(call, ran, uncovered)
  return failed > 0 || (call.flags.has('covered') && uncovered.length > 0) ? exitCodes.failed : exitCodes.ok
}

async function runFile(
  call: Call,
  file: string,
): Promise<{ readonly ok: true; readonly run: SuiteRun } | { readonly ok: false; readonly code: number }> {
  const text = await readText(call, file)
  if (!text.ok) return text
  const read = readSuite(text.value, file)
  if (!read.ok) {
    tellProblems(call, read.problems, file)
    return { ok: false, code: exitCodes.badConfiguration }
  }
  const given = call.lists['policy'] ?? []
  const own = read.suite.policies.map((path) => resolve(dirname(file), path))
  if (given.length + own.length === 0) throw new UsageError(`${file} names no policy: say --policy FILE`)
  const policy = await readPolicy(call, given.length > 0 ? given : own)
  return policy.ok ? { ok: true, run: runSuite(policy.value, read.suite) } : policy
}

/** Rules that no test of any suite matches; suites of the same policy cover for each other. */
function uncoveredRules(ran: readonly Ran[]): readonly string[] {
  const seen = new Map<string, boolean>()
  for (const { run } of ran)
    for (const [id, { matched }] of run.rules) seen.set(id, (seen.get(id) ?? false) || matched > 0)
  return [...seen].filter(([, matched]) => !matched).map(([id]) => id)
}

function show({ terminal }: Call, ran: readonly Ran[], uncovered: readonly string[]): void {
  let failed = 0
  let count = 0
  for (const { file, run } of ran) {
    const rows = run.tried.map(({ name, got, differences }) => [
      differences.length === 0 ? 'ok' : 'FAILED',
      name,
      got.type,
      got.rule_id,
    ])
    terminal.out(file)
    for (const line of tableText(rows)) terminal.out(`  ${line}`)
    for (const { name, differences } of run.tried)
      for (const difference of differences) terminal.out(`  ${name}: ${difference}`)
    const rules = [...run.rules].map(([id, { matched, decided }]) => [id, String(matched), String(decided)])
    terminal.out('')
    for (const line of tableText([['rule', 'matched', 'decided'], ...rules])) terminal.out(`  ${line}`)
    count += run.tried.length
    failed += run.tried.filter(({ differences }) => differences.length > 0).length
    terminal.out('')
  }
  terminal.out(`${count - failed} of ${count} as wanted`)
  if (uncovered.length > 0) terminal.out(`no test matches ${uncovered.join(', ')}`)
}

function asJson(ran: readonly Ran[], failed: number, uncovered: readonly string[]): object {
  return {
    ok: failed === 0,
    failed,
    uncovered,
    suites: ran.map(({ file, run }) => ({
      file,
      tests: run.tried.map(({ name, got, differences }) => ({
        name,
        ok: differences.length === 0,
        decision: got,
        differences,
      })),
      rules: Object.fromEntries(run.rules),
    })),
  }
}
