import { natsConfCommand } from './nats-conf.ts'
import { natsVerifyCommand } from './nats-verify.ts'
import { runSubcommand } from './subcommand.ts'
import { processTerminal, type Terminal } from './terminal.ts'

const table = { conf: natsConfCommand, verify: natsVerifyCommand }

/** `sluice nats ...`: the server that enforces the gate. */
export function run(args: string[], terminal: Terminal = processTerminal()): Promise<number> {
  return runSubcommand('nats', table, args, terminal)
}
