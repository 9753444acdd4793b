import { policyCheck } from './policy-check.ts'
import { runSubcommand } from './subcommand.ts'
import { processTerminal, type Terminal } from './terminal.ts'

/** `sluice policy ...`. */
export function run(args: string[], terminal: Terminal = processTerminal()): Promise<number> {
  return runSubcommand('policy', { check: policyCheck }, args, terminal)
}
