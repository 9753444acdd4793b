import { jobOf } from './job-submit.ts'
import { exitCodeOfDecision } from './outcome-codes.ts'
import { explained, showExplanation } from './policy-explain.ts'
import { runSubcommand, type Subcommand } from './subcommand.ts'
import { processTerminal, type Terminal } from './terminal.ts'

const canI: Subcommand = {
  about: 'what would become of a job',
  help: `usage: sluice can-i TOPIC [options]

Says what would be decided, without a job, a record or a slot of any limit. The exit code says it, too: 0 allowed, 3 denied,
4 waits for a person, 7 is limited. The running gateway is asked, or with --policy the files, without one.

  sluice can-i job.mcp-bridge.read.get_ticket
  sluice can-i job.mcp-bridge.write.update_ticket --tag prod --policy deploy/policy.yaml

  --tag TAG         a risk tag; may be said several times
  --label KEY=TEXT  a label; may be said several times
  --capability X    what the job needs
  --payload JSON    what the worker would get; --payload-file FILE reads it from a file
  --tenant NAME     as whom: tenant and actor (default and demo)
  --actor NAME
  --policy FILE     a policy; several times for several files`,
  options: {
    tag: 'list',
    label: 'list',
    capability: 'text',
    payload: 'text',
    'payload-file': 'text',
    tenant: 'text',
    actor: 'text',
    policy: 'list',
  },
  words: { min: 1, max: 1 },
  run: async (call) => {
    const { tenant, actor } = call.text
    const job = {
      ...(await jobOf(call)),
      ...(tenant === undefined ? {} : { tenant }),
      ...(actor === undefined ? {} : { actor }),
    }
    const told = await explained(call, job)
    if (!told.ok) return told.code
    showExplanation(call, told.value)
    return exitCodeOfDecision(told.value.decision.type)
  },
}

/** `sluice can-i`. */
export function run(args: string[], terminal: Terminal = processTerminal()): Promise<number> {
  return runSubcommand('can-i', { '': canI }, args, terminal)
}
