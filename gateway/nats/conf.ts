import { natsLayout, outsideAccounts, type NatsAccount, type NatsImport, type NatsUser } from './accounts.ts'
import { type Topology } from '../config/topology.ts'

/**
 * How users prove who they are: a password from the environment, which may be a bcrypt hash; a bcrypt hash in the file;
 * or the public half of an NKey. By user name; the owner of the streams always has a password from the environment.
 */
export type NatsCredentials =
  | { type: 'environment' }
  | { type: 'bcrypt'; hashes: ReadonlyMap<string, string> }
  | { type: 'nkeys'; publicKeys: ReadonlyMap<string, string> }

export type NatsConfOptions = {
  credentials: NatsCredentials
  /** `127.0.0.1:4222` */
  listen: string
  /** Paths on the machine of the server. */
  tls?: { cert: string; key: string; ca: string }
}

/** What the nats.conf in the root of the project was written with. */
export const demoNatsConf: NatsConfOptions = {
  credentials: { type: 'environment' },
  listen: '127.0.0.1:4222',
}

/** The environment variable in which nats.conf expects this user's password. */
export function passwordVariable(user: string): string {
  return `SLUICE_${user.replaceAll('-', '_').toUpperCase()}_PASSWORD`
}

/** Every user of nats.conf but the owner of the streams: those that must have a credential. */
export function natsUsers(topology: Topology): string[] {
  const layout = natsLayout(topology)
  const outside = outsideAccounts(layout).flatMap(({ users }) => users.map(({ user }) => user))
  return ['sys', layout.gateway.user, ...outside]
}

/** The configuration of the server, a pure function of the topology; throws if a user has no credential. */
export function natsConf(topology: Topology, options: NatsConfOptions): string {
  const layout = natsLayout(topology)
  const outside = outsideAccounts(layout)
  const user = (granted: NatsUser): string[] => userLines(granted, options.credentials)
  const section = (title: string, accounts: readonly NatsAccount[]): string[] =>
    accounts.length === 0
      ? []
      : ['', rule(title), ...blankBetween(accounts.map((one) => accountLines(one, user)))]
  const sections: [string, NatsAccount[]][] = [
    ['agents', layout.agents],
    ['workers', layout.pools],
    ['people', outside.filter((one) => one === layout.people)],
  ]
  return [
    ...head,
    '',
    `listen: ${options.listen}`,
    'server_name: sluice',
    ...tlsLines(options.tls),
    '',
    '# Where the streams are kept is said on the command line: nats-server -c nats.conf -sd /var/lib/nats',
    'jetstream: enabled',
    '',
    'system_account: SYS',
    '',
    'accounts {',
    `  SYS { users: [ { ${credential('sys', options.credentials)} } ] }`,
    '',
    rule('the gateway'),
    '  GOV {',
    '    jetstream: enabled',
    '    users: [',
    ...user(layout.gateway),
    ...ownerLines,
    '    ]',
    '    exports: [',
    ...exportLines(outside),
    '    ]',
    '  }',
    ...sections.flatMap(([title, accounts]) => section(title, accounts)),
    '}',
    '',
  ].join('\n')
}

const head = [
  '# The server enforces the gate: who may say what is written here, and nobody can talk round it.',
  '#',
  '# `sluice nats conf` writes this file from the topology: change deploy/topology.yaml and write it anew.',
  '#',
  '# Only the gateway has a user in account GOV, where the streams are. Agents, worker pools and people sit in accounts',
  '# of their own and reach GOV through the imports below, which add the tenant or pool they really are. In one account',
  '# alone this could not be made safe: a server checks the subject of a message, not the reply subject it carries.',
  '#',
  '# Nobody but the server itself publishes on worker.>: WORK republishes there what it has stored.',
  '#',
  '# $JS.ACK stands twice everywhere, because an acknowledgement has two forms and newer servers may use the second.',
  '# The JetStream API is imported as gov.API, because an account without JetStream answers on $JS.API itself: no.',
  '#',
  '# Passwords come from the environment; they begin with a letter, because the server reads a value of digits as a',
  '# number. Works on 2.9.10 and newer; in production run 2.11.15, 2.12.6 or newer.',
]

const ownerLines = [
  '      # {{owner}} `sluice provision` needs a user that owns the streams. It stands here only while it runs:',
  '      #   { user: owner, password: $SLUICE_OWNER_PASSWORD, permissions: { publish: "$JS.API.>", subscribe: "_INBOX_owner.>" } }',
]

const widthMax = 120

function rule(title: string): string {
  return `  # ---- ${title} `.padEnd(widthMax, '-')
}

function tlsLines(tls: NatsConfOptions['tls']): string[] {
  if (tls === undefined) return []
  return [
    '',
    '# Clients check the server with the authority of ca_file. With verify: true it would ask them for certificates too.',
    'tls {',
    `  cert_file: ${JSON.stringify(tls.cert)}`,
    `  key_file: ${JSON.stringify(tls.key)}`,
    `  ca_file: ${JSON.stringify(tls.ca)}`,
    '  verify: false',
    '}',
  ]
}

/** How this user logs in, as it stands before its permissions. */
function credential(user: string, credentials: NatsCredentials): string {
  if (credentials.type === 'environment') return `user: ${user}, password: $${passwordVariable(user)}`
  const found = (credentials.type === 'nkeys' ? credentials.publicKeys : credentials.hashes).get(user)
  if (found === undefined) throw new Error(`user ${user} has no credential`)
  return credentials.type === 'nkeys' ? `nkey: ${found}` : `user: ${user}, password: ${JSON.stringify(found)}`
}

function userLines({ user, publish, subscribe }: NatsUser, credentials: NatsCredentials): string[] {
  // A key says nothing about whose it is.
  const name = credentials.type === 'nkeys' ? [`      # ${user}`] : []
  return [
    ...name,
    `      { ${credential(user, credentials)}, permissions: {`,
    `          publish: { allow: ${listText(publish)} }`,
    `          subscribe: { allow: ${listText(subscribe)} } } }`,
  ]
}

/** One line if it fits, else as many as it takes. */
function listText(subjects: readonly string[]): string {
  const quoted = subjects.map((subject) => JSON.stringify(subject))
  const line = `[ ${quoted.join(', ')} ]`
  return line.length <= widthMax - 32 ? line : `[\n${wrapped(quoted).join('\n')} ]`
}

function wrapped(quoted: readonly string[]): string[] {
  const indent = ' '.repeat(12)
  const lines: string[] = []
  let line = indent
  for (const [index, text] of quoted.entries()) {
    const piece = index === quoted.length - 1 ? text : `${text}, `
    if (line !== indent && line.length + piece.trimEnd().length > widthMax - 2) {
      lines.push(line.trimEnd())
      line = indent
    }
    line += piece
  }
  return [...lines, line]
}

function accountLines(
  { name, about, users, imports }: NatsAccount,
  user: (granted: NatsUser) => string[],
): string[] {
  return [
    ...commentLines(about),
    `  ${name} {`,
    '    users: [',
    ...users.flatMap(user),
    '    ]',
    '    imports: [',
    ...imports.map(importLine),
    '    ]',
    '  }',
  ]
}

function commentLines(text: string): string[] {
  const lines: string[] = []
  let line = '  #'
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > widthMax) {
      lines.push(line)
      line = '  #'
    }
    line += ` ${word}`
  }
  return [...lines, line]
}

/** Each subject once, with every account that imports it: two accounts of a tenant may import the same. */
function exportLines(accounts: readonly NatsAccount[]): string[] {
  const importers = new Map<string, string[]>()
  for (const { name, imports } of accounts)
    for (const { subject } of imports) importers.set(subject, [...(importers.get(subject) ?? []), name])
  const blocks = accounts.map(({ name, imports }) =>
    imports
      .filter(({ subject }) => importers.get(subject)?.[0] === name)
      .map(({ kind, subject, streamed }) => {
        const many = streamed === true ? ', response_type: stream' : ''
        return `      { ${kind}: "${subject}"${many}, accounts: [${(importers.get(subject) ?? []).join(', ')}] }`
      }),
  )
  return blankBetween(blocks.filter((block) => block.length > 0))
}

function importLine({ kind, subject, to }: NatsImport): string {
  const renamed = to === undefined ? '' : `, to: "${to}"`
  return `      { ${kind}: { account: GOV, subject: "${subject}" }${renamed} }`
}

function blankBetween(blocks: readonly string[][]): string[] {
  return blocks.flatMap((block, index) => (index === 0 ? block : ['', ...block]))
}
