import { lintPolicy, type Lint } from '../policy/lint.ts'
import { exitCodes } from './exit-codes.ts'
import { readPolicy } from './policy-files.ts'
import { outputHelp, type Call, type Subcommand } from './subcommand.ts'
import { visible } from './visible.ts'

export const policyCheck: Subcommand = {
  about: 'does a policy load, and does it mean what it says?',
  help: `usage: sluice policy check FILE... [--strict] [--no-warnings]

Loads a policy exactly as the gateway does, without one: unknown keys and words, bad wildcards, doubled rule ids and
limits that nobody enforces are problems, each with file, line and column. Several files are loaded together, base files and
overlays. Exit code 0 if it loads, 78 if not.

Warnings are about what loads and may not be meant, each with a job that shows it: rules that can never match, rules that
stricter ones always go before, rules that overlap with another outcome, and allowances that hang on a tag which the
agent itself has to declare. What could not be decided is said too.

  --strict          a warning, or a question that was not decided, is exit code 1; overlaps are only told
  --no-warnings     only load

  sluice policy check deploy/policy.yaml
`,
  sharedHelp: outputHelp,
  options: { strict: 'flag', 'no-warnings': 'flag' },
  words: { min: 1, max: 64 },
  run: check,
}

const overlapsShown = 10

async function check(call: Call): Promise<number> {
  const { terminal, json } = call
  const read = await readPolicy(call, call.rest)
  if (!read.ok) return read.code
  const { snapshot, sourceHash, ruleCount } = read.value
  const lint: Lint = call.flags.has('no-warnings') ? { warnings: [], undecided: [] } : lintPolicy(read.value)
  if (json)
    terminal.out(JSON.stringify({ ok: true, rules: ruleCount, snapshot, source_hash: sourceHash, ...lint }))
  else {
    terminal.out(`ok: ${ruleCount} rules, what none of them allows is denied, snapshot ${snapshot}`)
    tell(call, lint)
  }
  const serious = lint.warnings.filter(({ code }) => code !== 'overlap').length + lint.undecided.length
  return call.flags.has('strict') && serious > 0 ? exitCodes.failed : exitCodes.ok
}

function tell({ terminal }: Call, { warnings, undecided }: Lint): void {
  let overlaps = 0
  for (const { code, rule_id, message, witness } of warnings) {
    if (code === 'overlap' && ++overlaps > overlapsShown) continue
    terminal.err(visible(`${code === 'overlap' ? 'note' : 'warning'}: ${rule_id} ${message}`))
    if (witness !== undefined) terminal.err(visible(`  witness: ${JSON.stringify(witness)}`))
  }
  if (overlaps > overlapsShown)
    terminal.err(`note: and ${overlaps - overlapsShown} more overlaps; -o json has them all`)
  for (const question of undecided) terminal.err(visible(`not decided: ${question}`))
}
