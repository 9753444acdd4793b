import { nearest } from '../policy/suggest.ts'
import { readArguments, type Arguments, type OptionKinds } from './arguments.ts'
import { exitCodes } from './exit-codes.ts'
import { BadToken, findGateway, Unreachable, type GatewayClient, type Reply } from './gateway-client.ts'
import { exitCodeOfProblem } from './outcome-codes.ts'
import type { Terminal } from './terminal.ts'
import { isLoopbackAddress } from '../gateway/http/loopback.ts'
import { visible } from './visible.ts'

/** One command that asks something of a gateway. */
export type Subcommand = {
  readonly about: string
  readonly help: string
  /** What is said about the options that all commands have, where this one means others by them. */
  readonly sharedHelp?: string
  readonly options: OptionKinds
  /** How many words stand beside the options. */
  readonly words: { readonly min: number; readonly max: number }
  run(call: Call): Promise<number>
}

/** A checked command line and what it is carried out with. */
export type Call = Omit<Extract<Arguments, { ok: true }>, 'ok'> & {
  readonly json: boolean
  readonly terminal: Terminal
  /** Finds the gateway when it is first needed. */
  gateway(): Promise<GatewayClient>
}

/** Thrown for a command line that cannot be meant; ends in exit code 2 with the help. */
export class UsageError extends Error {}

const shared: OptionKinds = {
  url: 'text',
  'data-dir': 'text',
  token: 'text',
  'token-file': 'text',
  output: 'text',
  json: 'flag',
  help: 'flag',
}

/** What is said instead where nobody is asked. */
export const outputHelp = `
  -o, --output X    text (default) or json`

const sharedHelp = `
  --url URL         the gateway; else SLUICE_URL, else the one of a running sluice dev
  --data-dir DIR    where that sluice dev keeps ready.json (SLUICE_DATA_DIR, default .sluice/dev)
  --token-file FILE who calls; else --token TOKEN, else SLUICE_TOKEN; sent to a gateway named by URL only
${outputHelp.slice(1)}`

/** Runs `sluice <name> <subcommand> ...`, or `sluice <name> ...` where there is only one and it is called ''. */
export async function runSubcommand(
  name: string,
  table: Readonly<Record<string, Subcommand>>,
  args: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const single = table['']
  const [word, ...others] = args
  const chosen = single ?? (word !== undefined && Object.hasOwn(table, word) ? table[word] : undefined)
  if (chosen === undefined) return unknownSubcommand(name, table, word, terminal)
  const title = single === undefined ? `${name} ${word}` : name
  const read = readArguments(single === undefined ? others : args, { ...shared, ...chosen.options })
  if (!read.ok) return usageError(title, chosen, read.problem, terminal)
  if (read.flags.has('help')) {
    terminal.out(chosen.help + (chosen.sharedHelp ?? sharedHelp))
    return exitCodes.ok
  }
  const { text, rest } = read
  const output = read.flags.has('json') ? 'json' : (text['output'] ?? 'text')
  if (output !== 'json' && output !== 'text') return usageError(title, chosen, '-o is text or json', terminal)
  if (rest.length < chosen.words.min) {
    const [, missing = 'something'] = /^usage: .*? ([A-Z][A-Z_|.]*)/.exec(chosen.help) ?? []
    return usageError(title, chosen, `${missing} is missing`, terminal)
  }
  if (rest.length > chosen.words.max)
    return usageError(
      title,
      chosen,
      `${visible(rest[chosen.words.max] ?? '')} is one word too many`,
      terminal,
    )
  const gateway = (): Promise<GatewayClient> => openGateway(text, terminal)
  try {
    return await chosen.run({ ...read, json: output === 'json', terminal, gateway })
  } catch (error) {
    if (terminal.signal.aborted) return exitCodes.failed
    if (error instanceof UsageError) return usageError(title, chosen, error.message, terminal)
    if (!(error instanceof Unreachable || error instanceof BadToken)) throw error
    terminal.err(`sluice ${title}: ${error.message}`)
    return error instanceof BadToken ? exitCodes.notAuthorised : exitCodes.unreachable
  }
}

async function openGateway(text: Call['text'], terminal: Terminal): Promise<GatewayClient> {
  const { url, token } = text
  const tokenFile = text['token-file']
  const asked = token !== undefined || tokenFile !== undefined
  if (asked && url === undefined && terminal.env['SLUICE_URL'] === undefined)
    throw new UsageError('say whom the token is for: --url or SLUICE_URL')
  const given = { url, dataDir: text['data-dir'], token, tokenFile }
  const gateway = await findGateway(given, terminal.env, terminal.signal)
  const { protocol, hostname } = new URL(gateway.url)
  if (gateway.known && protocol === 'http:' && !isLoopbackAddress(hostname.replace(/^\[|\]$/g, '')))
    terminal.err(`the token goes over the network in clear; is there no https at ${hostname}?`)
  return gateway
}

/** What somebody can do who was not let in. */
const nextSteps: Readonly<Record<string, string>> = {
  unauthenticated:
    'set SLUICE_TOKEN or say --token-file FILE; who runs the gateway makes a token with sluice token create',
  forbidden:
    'ask who runs the gateway for a token with the role; SLUICE_TOKEN and --token-file say which one is used',
  credentials_unsupported: 'unset SLUICE_TOKEN: this gateway runs in profile dev',
}

/** Says what the API refused, in its own words, and returns the exit code for it. */
export function refused(call: Call, { status, body }: Reply): number {
  if (call.json) call.terminal.out(JSON.stringify(body))
  const said = (key: string): string => (typeof body[key] === 'string' ? body[key] : '')
  const detail = said('detail')
  call.terminal.err(visible(`${said('title') || status}${detail === '' ? '' : `: ${detail}`}`))
  const next = nextSteps[said('code')]
  if (next !== undefined) call.terminal.err(next)
  return exitCodeOfProblem(status, said('code'))
}

function unknownSubcommand(
  name: string,
  table: Readonly<Record<string, Subcommand>>,
  word: string | undefined,
  terminal: Terminal,
): number {
  const lines = Object.entries(table).map(([sub, { about }]) => `  ${sub.padEnd(10)}${about}`)
  const usage = [
    `usage: sluice ${name} <command> [options]`,
    '',
    ...lines,
    '',
    `sluice ${name} <command> --help says more.`,
  ]
  if (word === '--help' || word === '-h' || word === 'help') {
    terminal.out(usage.join('\n'))
    return exitCodes.ok
  }
  const meant = word === undefined ? undefined : nearest(word, Object.keys(table))
  const unknown =
    word === undefined
      ? []
      : [`unknown command ${visible(word)}${meant === undefined ? '' : `; did you mean ${meant}?`}`, '']
  terminal.err([...unknown, ...usage].join('\n'))
  return exitCodes.usage
}

function usageError(title: string, chosen: Subcommand, problem: string, terminal: Terminal): number {
  terminal.err(`sluice ${title}: ${problem}\n\n${chosen.help}${chosen.sharedHelp ?? sharedHelp}`)
  return exitCodes.usage
}
