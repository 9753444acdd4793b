import { policyCheck } from './policy-check.ts'
import { policyDiff } from './policy-diff.ts'
import { policyExplain } from './policy-explain.ts'
import { policyRollback, policyShadow, policySnapshots } from './policy-live.ts'
import { policyReplay } from './policy-replay.ts'
import { policyTest } from './policy-test.ts'
import { runSubcommand } from './subcommand.ts'
import { processTerminal, type Terminal } from './terminal.ts'

const commands = {
  check: policyCheck,
  test: policyTest,
  explain: policyExplain,
  diff: policyDiff,
  replay: policyReplay,
  snapshots: policySnapshots,
  rollback: policyRollback,
  shadow: policyShadow,
} as const

/** `sluice policy ...`. */
export function run(args: string[], terminal: Terminal = processTerminal()): Promise<number> {
  return runSubcommand('policy', commands, args, terminal)
}
