import { natsConfCommand } from './nats-conf.ts'
import { runSubcommand } from './subcommand.ts'
import { processTerminal, type Terminal } from './terminal.ts'

/** `sluice nats ...`: the server that enforces the gate. */
export function run(args: string[], terminal: Terminal = processTerminal()): Promise<number> {
  return runSubcommand('nats', { conf: natsConfCommand }, args, terminal)
}
