import type { JobTimeline } from '../audit/fold.ts'
import { exitCodes } from './exit-codes.ts'
import { refused, runSubcommand, type Subcommand } from './subcommand.ts'
import { processTerminal, type Terminal } from './terminal.ts'
import { traceText } from './trace-text.ts'

const trace: Subcommand = {
  about: 'the whole story of a trace',
  help: `usage: sluice trace TRACE_ID|JOB_ID [--tenant NAME]

Draws everything that happened under a trace id, from the audit stream: who asked, what was decided by which rule, who
approved with which note, what ran where within which limits, what the output scan found, how it ended. Each line begins
with the record's sequence in AUDIT. A trace id that two tenants use is two traces.

  --tenant NAME     whose`,
  options: { tenant: 'text' },
  words: { min: 1, max: 1 },
  run: async (call) => {
    const { tenant } = call.text
    const query = tenant === undefined ? '' : `?tenant=${encodeURIComponent(tenant)}`
    const path = `/api/v1/traces/${encodeURIComponent(call.rest[0] ?? '')}${query}`
    const reply = await (await call.gateway()).call('GET', path)
    if (reply.status !== 200) return refused(call, reply)
    const told = reply.body as unknown as Told
    call.terminal.out(call.json ? JSON.stringify(told) : traceText(told))
    if (!call.json) call.terminal.err(whole(told))
    return exitCodes.ok
  },
}

type Told = { trace_id: string; tenant: string; complete: boolean; truncated?: boolean; jobs: JobTimeline[] }

function whole({ complete, truncated, jobs }: Told): string {
  if (complete) return 'complete: every job ended and no record is missing'
  if (truncated === true) return 'not complete: there is more than one answer holds'
  if (jobs.some(({ problems }) => problems !== undefined))
    return 'NOT COMPLETE: records are missing or out of place'
  return 'not complete yet: a job is still open'
}

/** `sluice trace`. */
export function run(args: string[], terminal: Terminal = processTerminal()): Promise<number> {
  return runSubcommand('trace', { '': trace }, args, terminal)
}
