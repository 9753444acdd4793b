import { readFile } from 'node:fs/promises'
import { expiryMs, parseTokens } from '../gateway/http/tokens-file.ts'
import { problemText } from '../gateway/config/yaml-file.ts'
import { exitCodes } from './exit-codes.ts'
import type { Subcommand } from './subcommand.ts'
import { tableText } from './table-text.ts'

const hashCharsShown = 12

export const tokenList: Subcommand = {
  about: 'who has a token',
  help: `usage: sluice token ls [--file FILE]

Lists the entries of a tokens file. Whose entry is taken out is not let in any more, within a second.

  --file FILE       default tokens.yaml
`,
  sharedHelp: `
  -o, --output X    text (default) or json`,
  options: { file: 'text' },
  words: { min: 0, max: 0 },
  run: async ({ text, terminal, json }) => {
    const file = text['file'] ?? 'tokens.yaml'
    const content = await readFile(file, 'utf8').catch(() => undefined)
    if (content === undefined) {
      terminal.err(`${file} cannot be read; --file says where it is`)
      return exitCodes.badConfiguration
    }
    const parsed = parseTokens(file, content)
    if (!parsed.ok) {
      for (const problem of parsed.problems) terminal.err(problemText(problem))
      return exitCodes.badConfiguration
    }
    const shown = parsed.value.map(({ sha256, expires, ...entry }) => ({
      ...entry,
      // Enough to find the entry by.
      sha256: sha256.slice(0, hashCharsShown),
      expires: expires ?? null,
      expired: expires !== undefined && (expiryMs(expires) ?? 0) <= terminal.nowMs(),
    }))
    if (json) terminal.out(JSON.stringify({ tokens: shown }))
    else if (shown.length === 0) terminal.err('nobody has a token')
    else for (const line of tableText(rows(shown))) terminal.out(line)
    return exitCodes.ok
  },
}

type Shown = {
  readonly principal: string
  readonly roles: readonly string[]
  readonly tenants: 'all' | readonly string[]
  readonly agent?: string | undefined
  readonly sha256: string
  readonly expires: string | null
  readonly expired: boolean
}

function rows(shown: readonly Shown[]): string[][] {
  return [
    ['PRINCIPAL', 'ROLES', 'TENANTS', 'AGENT', 'EXPIRES', 'SHA256'],
    ...shown.map(({ principal, roles, tenants, agent, expires, expired, sha256 }) => [
      principal,
      roles.join(' '),
      tenants === 'all' ? tenants : tenants.join(' '),
      agent ?? '',
      `${expires ?? 'never'}${expired ? ' (expired)' : ''}`,
      sha256,
    ]),
  ]
}
