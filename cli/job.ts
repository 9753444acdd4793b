import { jobSubmit } from './job-submit.ts'
import { jobCancel, jobGet, jobWatch } from './job-look.ts'
import { runSubcommand } from './subcommand.ts'
import { processTerminal, type Terminal } from './terminal.ts'

/** `sluice job ...`. */
export function run(args: string[], terminal: Terminal = processTerminal()): Promise<number> {
  return runSubcommand(
    'job',
    { submit: jobSubmit, get: jobGet, watch: jobWatch, cancel: jobCancel },
    args,
    terminal,
  )
}
