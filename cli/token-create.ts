import { readFile, rename, stat, writeFile } from 'node:fs/promises'
import { isMap, isSeq, parseDocument, stringify } from 'yaml'
import { parseDurationMs } from '../policy/duration.ts'
import { newToken, tokenHash } from '../gateway/http/token.ts'
import { expiryMs, parseTokens, roles, type TokenEntry } from '../gateway/http/tokens-file.ts'
import { parseTopology, type Topology } from '../gateway/config/topology.ts'
import { problemText } from '../gateway/config/yaml-file.ts'
import { exitCodes } from './exit-codes.ts'
import { UsageError, type Call, type Subcommand } from './subcommand.ts'

export const tokenCreate: Subcommand = {
  about: 'make a token and its entry in the tokens file',
  help: `usage: sluice token create --principal NAME --role ROLE... --tenant NAME... [options]

Makes a token and prints it on standard output, once: nobody can show it again. The gateway knows only its hash, which
stands in the entry: printed on standard error, or added to a file with --file.

  --principal NAME  who; stands on record. An approver has its name of the topology
  --role ROLE       ${roles.join(', ')}; may be said several times
  --tenant NAME     what the roles reach: a tenant (may be said several times), all, or none (metrics alone)
  --agent NAME      for the role agent: whose jobs are submitted
  --expires WHEN    90d, 2030-01-31 or 2030-01-31T12:00:00Z
  --file FILE       add the entry here; a new file is for its owner alone
  --topology FILE   check names against it

  sluice token create --principal demo-approver --role approver --tenant default --expires 90d --file tokens.yaml
`,
  sharedHelp: `
  -o, --output X    text (default) or json: {"token", "entry"}`,
  options: {
    principal: 'text',
    role: 'list',
    tenant: 'list',
    agent: 'text',
    expires: 'text',
    file: 'text',
    topology: 'text',
  },
  words: { min: 0, max: 0 },
  run: async (call) => {
    const token = newToken()
    const entry = entryOf(call, token)
    const topology = await topologyOf(call)
    if (topology === 'bad') return exitCodes.badConfiguration
    const alone = parseTokens('', stringify({ tokens: [entry] }), topology)
    if (!alone.ok) throw new UsageError(alone.problems.map(({ message }) => message).join('\n'))
    const { terminal, text } = call
    const added = text['file'] === undefined ? true : await addTo(call, text['file'], entry)
    if (!added) return exitCodes.badConfiguration
    terminal.out(call.json ? JSON.stringify({ token, entry }) : token)
    if (call.json) return exitCodes.ok
    if (text['file'] === undefined) terminal.err(`add under tokens:\n\n${entryText(entry)}`)
    else terminal.err(`added to ${text['file']}; a running gateway takes it within a second`)
    return exitCodes.ok
  },
}

function entryOf({ text, lists, terminal }: Call, token: string): TokenEntry {
  const { principal, agent, expires } = text
  const asked = lists['role'] ?? []
  const tenants = lists['tenant'] ?? []
  if (principal === undefined) throw new UsageError('say who: --principal NAME')
  if (asked.length === 0) throw new UsageError(`say what for: --role ${roles.join('|')}`)
  if (tenants.length === 0) throw new UsageError('say for whom: --tenant NAME, or --tenant all')
  return {
    principal,
    sha256: tokenHash(token),
    // Whether they are roles is asked of the whole entry.
    roles: asked as TokenEntry['roles'],
    tenants: tenants.includes('all') ? 'all' : tenants.filter((name) => name !== 'none'),
    ...(agent === undefined ? {} : { agent }),
    ...(expires === undefined ? {} : { expires: expiry(expires, terminal.nowMs()) }),
  }
}

function expiry(text: string, nowMs: number): string {
  const forMs = parseDurationMs(text)
  if (forMs !== undefined) return new Date(nowMs + forMs).toISOString()
  if (expiryMs(text) === undefined)
    throw new UsageError('--expires is like 90d, 2030-01-31 or 2030-01-31T12:00:00Z')
  return text
}

async function topologyOf({ text, terminal }: Call): Promise<Topology | undefined | 'bad'> {
  const file = text['topology']
  if (file === undefined) return undefined
  const parsed = parseTopology(file, await readFile(file, 'utf8'))
  if (parsed.ok) return parsed.value
  for (const problem of parsed.problems) terminal.err(problemText(problem))
  return 'bad'
}

/** Adds to the file as it stands, comments and all; false if the file is not a tokens file, and then it is as before. */
async function addTo({ terminal }: Call, file: string, entry: TokenEntry): Promise<boolean> {
  const before = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  const checked = parseTokens(file, before)
  if (!checked.ok) {
    for (const problem of checked.problems) terminal.err(problemText(problem))
    return false
  }
  const document = parseDocument(before)
  const list = isMap(document.contents) ? document.get('tokens') : undefined
  if (isSeq(list)) {
    list.flow = false
    list.add(parseDocument(entryText(entry)).get(0))
  } else document.contents = parseDocument(`tokens:\n${entryText(entry)}`).contents
  // Renamed into place: a gateway that reads it meanwhile finds the old file or the new one, never half of one.
  const mode = ((await stat(file).catch(() => undefined))?.mode ?? 0o600) & 0o777
  const draft = `${file}.${process.pid}`
  await writeFile(draft, document.toString({ lineWidth: 0 }), { mode })
  await rename(draft, file)
  return true
}

/** One item of the list, as a person would write it. */
function entryText({ principal, sha256, roles: held, tenants, agent, expires }: TokenEntry): string {
  return [
    `  - principal: ${principal}`,
    `    sha256: ${JSON.stringify(sha256)}`,
    `    roles: [${held.join(', ')}]`,
    `    tenants: ${tenants === 'all' ? tenants : `[${tenants.join(', ')}]`}`,
    ...(agent === undefined ? [] : [`    agent: ${agent}`]),
    ...(expires === undefined ? [] : [`    expires: ${expires}`]),
    '',
  ].join('\n')
}
