import { runSubcommand } from './subcommand.ts'
import { processTerminal, type Terminal } from './terminal.ts'
import { tokenCreate } from './token-create.ts'
import { tokenList } from './token-list.ts'

/** `sluice token ...`: works on the file and needs no gateway. */
export function run(args: string[], terminal: Terminal = processTerminal()): Promise<number> {
  return runSubcommand('token', { create: tokenCreate, ls: tokenList }, args, terminal)
}
