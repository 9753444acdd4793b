import type { Finding } from './doctor-server.ts'
import { hasFix } from './server-version.ts'
import type { ConfValue } from './conf-read.ts'
import { accountsOf, listOf, mapOf, owner, type ConfMap } from './conf-values.ts'

/** A user of nats.conf; `publish` is undefined if nothing limits what it says. */
type ConfUser = {
  account: string
  name: string
  publish: string[] | undefined
  denies: boolean
  password: string
}

/** The account of whoever stands in none. */
const globalAccount = '$G'

/** What is wrong with a configuration, as `readNatsConf` reads it, on a server of this version. */
export function confFindings(conf: ConfMap, version: string): Finding[] {
  const users = usersOf(conf)
  return [
    ...layoutFindings(conf, users),
    ...users.flatMap((user) => userFindings(user, version)),
    ...serviceFindings(conf),
    ...doorFindings(conf, users),
    ...syncFindings(conf, version),
  ]
}

/** Whether every user, but those of the system account, has an allow-list for what it publishes. */
export function everybodyLimited(conf: ConfMap): boolean {
  const users = usersOf(conf)
  return users.length > 0 && users.every(({ publish }) => publish !== undefined)
}

/** The gateway's account. With NKeys nobody has a name; then it is the one that `sluice nats conf` gives to the gateway. */
function homeOf(users: readonly ConfUser[]): string {
  return users.find(({ name }) => name === 'gateway')?.account ?? 'GOV'
}

function layoutFindings(conf: ConfMap, users: readonly ConfUser[]): Finding[] {
  const found: Finding[] = []
  const home = homeOf(users)
  const inside = users.filter(({ account, name }) => account === home && name !== owner)
  if (home === globalAccount || inside.length !== 1)
    found.push({
      id: 'single-account',
      severity: 'fatal',
      what:
        inside.length === 0
          ? 'there is no account with the gateway alone in it'
          : `the gateway shares account ${home} with others: a reply subject gets anybody round the gate there`,
      todo: 'give agents, pools and people accounts of their own: sluice nats conf writes them',
    })
  if (conf['no_auth_user'] !== undefined)
    found.push({
      id: 'no-auth-user',
      severity: 'fatal',
      what: 'no_auth_user lets people in without a credential',
      todo: 'take no_auth_user out',
    })
  if (users.some(({ name }) => name === owner))
    found.push({
      id: 'owner-present',
      severity: 'warning',
      what: 'the owner of the streams is in the configuration: it can change and delete every stream, AUDIT too',
      todo: 'take it out when sluice provision has run, and reload the server',
    })
  return found
}

/** What would let somebody speak as the server, or make the server speak. */
const powers: readonly { subject: string; id: string; what: string }[] = [
  {
    subject: 'worker.>',
    id: 'worker-publish',
    what: 'may publish on worker.>, where only the server speaks',
  },
  {
    subject: '$JS.API.CONSUMER.CREATE.>',
    id: 'consumer-create',
    what: 'may create consumers, which deliver anywhere',
  },
  {
    subject: '$JS.API.CONSUMER.DURABLE.CREATE.>',
    id: 'consumer-create',
    what: 'may create consumers, which deliver anywhere',
  },
  {
    subject: '$JS.API.STREAM.CREATE.>',
    id: 'stream-create',
    what: 'may create streams, which republish anywhere',
  },
  { subject: '$JS.API.STREAM.UPDATE.>', id: 'stream-update', what: 'may change streams, AUDIT too' },
  { subject: '$JS.API.STREAM.DELETE.>', id: 'stream-delete', what: 'may delete streams, AUDIT too' },
  {
    subject: '$JS.API.ACCOUNT.PURGE.>',
    id: 'account-purge',
    what: 'may ask for the streams of an account to be erased',
  },
]

function userFindings({ account, name, publish, denies, password }: ConfUser, version: string): Finding[] {
  const who = `user ${name} of account ${account}`
  const todo = 'give it the permissions that sluice nats conf writes for it'
  const found: Finding[] = []
  if (publish === undefined)
    found.push({
      id: `unlimited-publish:${name}`,
      severity: 'fatal',
      what: `${who} may publish anything`,
      todo,
    })
  else if (name !== owner) {
    const has = powers.filter(({ subject }) => publish.some((pattern) => overlap(pattern, subject)))
    for (const [id, what] of new Map(has.map((power) => [power.id, power.what])))
      found.push({ id: `${id}:${name}`, severity: 'fatal', what: `${who} ${what}`, todo })
  }
  if (
    denies &&
    !hasFix(version, [
      [2, 11, 16],
      [2, 12, 7],
    ])
  )
    found.push({
      id: `subscribe-deny:${name}`,
      severity: 'warning',
      what: `${who} has a deny-list for what it hears, which this server does not apply to queue groups`,
      todo: 'use allow-lists only',
    })
  if (password !== '' && !/^\$/.test(password))
    found.push({
      id: `plain-password:${name}`,
      severity: 'warning',
      what: `the password of ${who} stands in the file`,
      todo: 'take it from the environment, or write a bcrypt hash or an NKey: sluice nats conf --bcrypt, --nkeys',
    })
  return found
}

/** An exported service is a way to publish in the account that exports it. */
function serviceFindings(conf: ConfMap): Finding[] {
  return [...accountsOf(conf)].flatMap(([name, account]) =>
    listOf(account['exports']).flatMap((entry): Finding[] => {
      const subject = mapOf(entry)['service']
      if (typeof subject !== 'string') return []
      const power = powers.find((one) => overlap(subject, one.subject))
      if (power === undefined) return []
      return [
        {
          id: `${power.id}-service:${name}`,
          severity: 'fatal',
          what: `account ${name} exports the service ${subject}: whoever imports it ${power.what}`,
          todo: 'export what sluice nats conf exports, each to one account',
        },
      ]
    }),
  )
}

/** Other ways in than the one that `sluice nats verify` tries. */
function doorFindings(conf: ConfMap, users: readonly ConfUser[]): Finding[] {
  return ['leafnodes', 'gateway', 'websocket', 'mqtt'].flatMap((door): Finding[] => {
    const value = conf[door]
    if (value === undefined) return []
    const open = valuesOf(value, 'no_auth_user').length > 0
    const intoHome = valuesOf(value, 'account').includes(homeOf(users))
    return [
      {
        id: `side-door:${door}`,
        severity: open || intoHome ? 'fatal' : 'warning',
        what: intoHome
          ? `${door} lets others into the gateway's own account, past every permission`
          : open
            ? `${door} lets people in without a credential`
            : `${door} is a way in that sluice nats verify does not try`,
        todo: 'take it out, or give what comes in there an account of its own and the permissions that sluice nats conf writes',
      },
    ]
  })
}

/** Everything that stands under a name, however deep. */
function valuesOf(value: ConfValue, name: string): ConfValue[] {
  if (typeof value !== 'object') return []
  if (Array.isArray(value)) return value.flatMap((one) => valuesOf(one, name))
  return Object.entries(value).flatMap(([key, one]) => (key === name ? [one] : valuesOf(one, name)))
}

function syncFindings(conf: ConfMap, version: string): Finding[] {
  if (mapOf(conf['jetstream'])['sync_interval'] === 'always') return []
  const young = hasFix(version, [[2, 10, 0]])
  return [
    {
      id: 'sync-interval',
      severity: 'note',
      what: `what is acknowledged is on disk up to ${young ? 'two minutes' : 'a minute'} later: a loss of power can take that much of the trail`,
      todo: young
        ? 'jetstream { sync_interval: always } where that matters more than throughput (docs/operations.md)'
        : 'sync_interval: always needs nats-server 2.10 (docs/operations.md)',
    },
  ]
}

function usersOf(conf: ConfMap): ConfUser[] {
  const system = conf['system_account']
  const inAccounts = [...accountsOf(conf)]
    .filter(([name]) => name !== system)
    .flatMap(([name, account]) => listOf(account['users']).map((user) => userOf(name, mapOf(user))))
  const authorization = mapOf(conf['authorization'])
  const alone = typeof authorization['user'] === 'string' || typeof authorization['token'] === 'string'
  const outside = [...listOf(authorization['users']).map(mapOf), ...(alone ? [authorization] : [])]
  return [...inAccounts, ...outside.map((user) => userOf(globalAccount, user))]
}

function userOf(account: string, user: ConfMap): ConfUser {
  const permissions = mapOf(user['permissions'])
  const name = user['user'] ?? user['nkey'] ?? user['username']
  const password = user['password'] ?? user['pass']
  const publish = permissions['publish'] ?? permissions['pub']
  const subscribe = permissions['subscribe'] ?? permissions['sub']
  return {
    account,
    name: typeof name === 'string' ? name : 'without a name',
    publish: allowed(publish),
    denies: mapOf(subscribe)['deny'] !== undefined,
    password: password === undefined ? '' : typeof password === 'string' ? password : 'a number',
  }
}

/** `publish: "a"`, `publish: ["a"]` and `publish: { allow: ... }` all say what alone is allowed; a deny-list limits nothing. */
function allowed(value: ConfValue | undefined): string[] | undefined {
  if (value === undefined) return undefined
  if (typeof value === 'string') return [value]
  if (Array.isArray(value)) return value.filter((one) => typeof one === 'string')
  return allowed(mapOf(value)['allow'])
}

/** Is there a subject that both patterns cover? */
function overlap(one: string, other: string): boolean {
  const [left, right] = [one.split('.'), other.split('.')]
  for (let index = 0; index < Math.max(left.length, right.length); index++) {
    const [a, b] = [left[index], right[index]]
    if (a === undefined || b === undefined) return false
    if (a === '>' || b === '>') return true
    if (a !== '*' && b !== '*' && a !== b) return false
  }
  return true
}
