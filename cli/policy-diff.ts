import { comparePolicies, type Comparison } from '../policy/compare.ts'
import { exitCodes } from './exit-codes.ts'
import { readPolicy } from './policy-files.ts'
import { outputHelp, type Call, type Subcommand } from './subcommand.ts'
import { visible } from './visible.ts'

export const policyDiff: Subcommand = {
  about: 'which decisions differ between two policies',
  help: `usage: sluice policy diff A B [--at-least-as-strict]

Says which decisions of policy B differ from those of policy A, each with a witness: a job, to be put into a file for policy
explain, that the two decide differently. A policy of several files is written with commas: base.yaml,overlay.yaml.
Exit code 0 if no decision differs, 1 if one does or if the search had to give up before it had seen everything.

  --at-least-as-strict   only look for jobs of which B asks for less than A; 0 means that there is none

  sluice policy diff deploy/policy.yaml candidate.yaml --at-least-as-strict
`,
  sharedHelp: outputHelp,
  options: { 'at-least-as-strict': 'flag' },
  words: { min: 2, max: 2 },
  run: diff,
}

async function diff(call: Call): Promise<number> {
  const [first = '', second = ''] = call.rest
  const before = await readPolicy(call, first.split(','))
  if (!before.ok) return before.code
  const after = await readPolicy(call, second.split(','))
  if (!after.ok) return after.code
  const onlyLooser = call.flags.has('at-least-as-strict')
  const found = comparePolicies(before.value, after.value, onlyLooser)
  if (call.json)
    call.terminal.out(
      JSON.stringify({ ...found, before: before.value.snapshot, after: after.value.snapshot }),
    )
  else tell(call, found, onlyLooser)
  return found.differences.length === 0 && found.complete ? exitCodes.ok : exitCodes.failed
}

function tell({ terminal }: Call, { differences, complete }: Comparison, onlyLooser: boolean): void {
  for (const { before, after, looser, witness } of differences) {
    const why = looser === undefined ? '' : `  looser: ${looser}`
    terminal.out(visible(`${before.type} (${before.rule_id}) -> ${after.type} (${after.rule_id})${why}`))
    terminal.out(visible(`  witness: ${JSON.stringify(witness)}`))
  }
  if (differences.length === 0 && complete)
    terminal.out(onlyLooser ? 'B is at least as strict as A' : 'no decision differs')
  if (!complete)
    terminal.err('not decided: the policies are too large to compare wholly; what is said above is true')
}
