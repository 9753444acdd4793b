import { approvalApprove, approvalClaim, approvalReject } from './approval-decide.ts'
import { approvalList, approvalShow, approvalWatch } from './approval-look.ts'
import { runSubcommand } from './subcommand.ts'
import { processTerminal, type Terminal } from './terminal.ts'

const table = {
  ls: approvalList,
  show: approvalShow,
  approve: approvalApprove,
  reject: approvalReject,
  claim: approvalClaim,
  watch: approvalWatch,
}

/** `sluice approval ...`. */
export function run(args: string[], terminal: Terminal = processTerminal()): Promise<number> {
  return runSubcommand('approval', table, args, terminal)
}
