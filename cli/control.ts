import { exitCodes } from './exit-codes.ts'
import { refused, runSubcommand, UsageError, type Call, type Subcommand } from './subcommand.ts'
import { tableText } from './table-text.ts'
import { processTerminal, type Terminal } from './terminal.ts'

type Shown = {
  readonly id: string
  readonly state: string
  readonly scope: Readonly<Record<string, string>>
  readonly by: string
  readonly reason: string
  readonly stopped_at: string
  readonly warning?: string
}

const list: Subcommand = {
  about: 'what is stopped, and by whom',
  help: `usage: sluice control ls [--all]

Every order to stop that holds now. With --all, also those that are lifted.`,
  options: { all: 'flag' },
  words: { min: 0, max: 0 },
  run: async (call) => {
    const reply = await (await call.gateway()).call('GET', '/api/v1/control')
    if (reply.status !== 200) return refused(call, reply)
    const { stops } = reply.body as unknown as { stops: readonly Shown[] }
    const shown = stops.filter(({ state }) => call.flags.has('all') || state !== 'resumed')
    if (call.json) call.terminal.out(JSON.stringify({ stops: shown }))
    else if (shown.length === 0) call.terminal.err('nothing is stopped')
    else for (const line of tableText(rows(shown))) call.terminal.out(line)
    return exitCodes.ok
  },
}

const stop: Subcommand = {
  about: 'stop everything, a tenant, an agent or a topic',
  help: `usage: sluice control stop (--all | --tenant T | --tenant T --agent A | --topic PATTERN) --reason WHY

From the next second on nothing that the order covers is dispatched. New jobs are denied with sluice.stopped;
what waits keeps the time it has left. Who stopped it and why is on record first.`,
  options: { all: 'flag', tenant: 'text', agent: 'text', topic: 'text', reason: 'text' },
  words: { min: 0, max: 0 },
  run: (call) => order(call, 'stop', { scope: scopeOf(call), reason: reasonOf(call) }),
}

const resume: Subcommand = {
  about: 'lift a stop: first what waits, then everything',
  help: `usage: sluice control resume STOP_ID [--stage draining|resumed] --reason WHY

draining   what was accepted before the stop may go on; new jobs stay out
resumed    new jobs are taken again (the default)`,
  options: { stage: 'text', reason: 'text' },
  words: { min: 1, max: 1 },
  run: (call) => {
    const stage = call.text['stage'] ?? 'resumed'
    if (stage !== 'draining' && stage !== 'resumed') throw new UsageError('--stage is draining or resumed')
    return order(call, 'resume', { id: call.rest[0] ?? '', stage, reason: reasonOf(call) })
  },
}

const table = { ls: list, stop, resume }

/** `sluice control ...`: the kill switch. */
export function run(args: string[], terminal: Terminal = processTerminal()): Promise<number> {
  return runSubcommand('control', table, args, terminal)
}

async function order(call: Call, path: string, body: object): Promise<number> {
  const reply = await (await call.gateway()).call('POST', `/api/v1/control/${path}`, { body })
  if (reply.status !== 200) return refused(call, reply)
  const shown = reply.body as unknown as Shown
  if (call.json) call.terminal.out(JSON.stringify(shown))
  else for (const line of tableText(rows([shown]))) call.terminal.out(line)
  if (shown.warning !== undefined) call.terminal.err(shown.warning)
  return exitCodes.ok
}

function scopeOf({ flags, text }: Call): object {
  const { tenant, agent, topic } = text
  const kinds = [flags.has('all'), tenant !== undefined, topic !== undefined].filter(Boolean).length
  if (kinds !== 1)
    throw new UsageError('say what to stop: --all, --tenant, --tenant with --agent, or --topic')
  if (topic !== undefined) return { kind: 'topic', pattern: topic }
  if (tenant === undefined) return { kind: 'all' }
  return agent === undefined ? { kind: 'tenant', tenant } : { kind: 'agent', tenant, agent }
}

function reasonOf({ text }: Call): string {
  const reason = text['reason'] ?? ''
  if (reason === '') throw new UsageError('--reason is needed: it stands on record')
  return reason
}

function rows(stops: readonly Shown[]): string[][] {
  const covered = ({ kind, ...named }: Shown['scope']): string => [kind, ...Object.values(named)].join(' ')
  return [
    ['STOP', 'STATE', 'COVERS', 'BY', 'SINCE', 'REASON'],
    ...stops.map(({ id, state, scope, by, reason, stopped_at }) => [
      id,
      state,
      covered(scope),
      by,
      stopped_at,
      reason,
    ]),
  ]
}
