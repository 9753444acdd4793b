import type { RoleCredential } from './nats-grants.ts'

/** A token that nothing real has: what is tried with it meets nobody. */
export const strange = 'sluice-verify'

/** A job that nobody has. */
const noJob = (tenant: string): string => `${tenant}.m0123456789012345678901234`

/** What anybody might be tempted to publish on, where these roles are. */
export function publishSubjects(credentials: readonly RoleCredential[]): string[] {
  const tenants = unique(credentials.flatMap(({ tenant }) => tenant ?? []))
  const [tenant = 'default'] = tenants
  const job = noJob(tenant)
  return unique([
    ...ofTheGate(job),
    ...credentials.flatMap((credential) => ofRole(credential, job)),
    ...api(credentials),
  ])
}

/** What anybody might be tempted to listen to; a queue group stands after a space. */
export function subscribeSubjects(credentials: readonly RoleCredential[]): string[] {
  const pools = unique(credentials.flatMap(({ pool }) => pool ?? []))
  const tenants = unique(credentials.flatMap(({ tenant }) => tenant ?? []))
  return unique([
    ...['>', '*', '*.>', 'job.>', 'job.> gw', 'http.>', 'audit.>', 'gov.>', 'gov.dispatch.>'],
    ...[
      'approvals.>',
      'approvals.pending.>',
      'approvals.resolve.>',
      'approvals.notify.>',
      'result.>',
      'hb.>',
      'control.>',
      'cancel.>',
    ],
    ...['decision.>', 'output.>', '_INBOX.>', '_INBOX_gateway.>', '_R_.>'],
    ...['$JS.>', '$JS.ACK.>', '$JS.EVENT.ADVISORY.>', '$KV.>', '$SYS.>', 'worker.>'],
    ...tenants.flatMap((tenant) => [`decision.${tenant}.>`, `output.${tenant}.>`, `job.${tenant}.>`]),
    ...pools.flatMap((pool) => [
      ...[`worker.${pool}.>`, `worker.${pool}.> ${pool}`, `worker.${pool}.> another`],
      ...[`result.${pool}.>`, `cancel.${pool}.>`, `gov.dispatch.${pool}.>`],
    ]),
    ...credentials.flatMap(({ role, actor, inbox_prefix: inbox }) =>
      role === 'worker' ? [`${inbox}.>`, `cancel.${actor}.>`] : [`${inbox}.>`],
    ),
  ])
}

/**
 * The subjects just outside a grant, one for each way of widening it: another token in place of each one, a shorter
 * one, and, where the grant ends, a longer one.
 */
export function neighboursOf(grant: string, type: 'publish' | 'subscribe'): string[] {
  const [pattern = '', queue] = grant.split(' ')
  const tokens = pattern.split('.')
  const rest = type === 'subscribe' ? '>' : 'x'
  const filled = tokens.map((token) => (token === '>' ? rest : token === '*' ? 'x' : token))
  const subjects = tokens.flatMap((token, index) =>
    token === '*' || token === '>'
      ? []
      : [filled.with(index, strange).join('.'), [...filled.slice(0, index), strange].join('.')],
  )
  if (tokens.at(-1) !== '>') subjects.push([...filled, strange].join('.'))
  if (queue === undefined) return subjects
  return [
    ...subjects.map((subject) => `${subject} ${queue}`),
    filled.join('.'),
    `${filled.join('.')} ${strange}`,
  ]
}

/** What only the gateway, an operator or the server itself may say. */
function ofTheGate(job: string): string[] {
  return [
    ...[
      `audit.${job}`,
      'audit._policy',
      'audit._control',
      `audit._refused.${job}`,
      'audit._source.gateway-1',
    ],
    ...[`gov.throttled.${job}`, `gov.quarantine.${job}`, `gov.command.${job}`, 'gov.anything'],
    ...[`approvals.pending.${job}`, `approvals.notify.resolved.${job}`],
    ...['control.pause', 'worker.anything', 'job.mcp-bridge.read.x'],
    ...['decision.x', 'output.x', '_R_.somebody.x', '_INBOX.somebody.x', '_INBOX_gateway.x'],
    ...['$KV.gov_budget.default.rule', '$KV.gov_policy.current', '$KV.gov_control.pause'],
    ...['$KV.gov_asked.default.x', '$KV.another.x'],
    // An account that does not exist: before 2.10.27 the server obeys anybody who may say this.
    ...['$JS.API.ACCOUNT.PURGE.SLUICE_VERIFY', '$SYS.REQ.SERVER.PING', '$SYS.REQ.ACCOUNT.GOV.CONNZ'],
  ]
}

/** What belongs to one role, in its own words and in those of the gateway. */
function ofRole({ role, actor, tenant, pool, inbox_prefix: inbox }: RoleCredential, job: string): string[] {
  const own = [`${inbox}.x`]
  switch (role) {
    case 'agent':
      return [
        ...own,
        ...[`job.${actor}.read.x`, `job.${tenant}.${actor}.read.x`, `http.${tenant}.${actor}.read.x`],
        ...[`decision.${tenant}.${actor}.x`, `output.${tenant}.${actor}.x`],
      ]
    case 'worker':
      return [
        ...own,
        ...[`result.${actor}.${job}`, `hb.${actor}`, `cancel.${actor}.${job}`],
        ...[`result.${pool}.${actor}.${job}`, `hb.${pool}.${actor}`, `cancel.${pool}.${actor}.${job}`],
        ...[
          `worker.${pool}.read.x`,
          `worker.${pool}.read.x.${job}.1`,
          `gov.dispatch.${pool}.read.x.${job}.1`,
        ],
      ]
    case 'approver':
      return [
        ...own,
        ...[`approvals.resolve.${actor}.${job}`, `approvals.resolve.${actor}.one`],
        `approvals.resolve.${actor}.${job}.more`,
      ]
    case 'operator':
      return [...own, ...['stop', 'resume', 'list', 'more'].map((verb) => `control.${actor}.${verb}`)]
    case 'auditor':
    case 'gateway':
      return own
  }
}

const streamVerbs = [
  ...['CREATE', 'UPDATE', 'DELETE', 'PURGE', 'MSG.DELETE', 'MSG.GET', 'SNAPSHOT', 'RESTORE', 'INFO'],
] as const

/** The JetStream API as the server has it and as it is imported, and acknowledgements in both forms. */
function api(credentials: readonly RoleCredential[]): string[] {
  const agent = credentials.find(({ role }) => role === 'agent')
  const streams = ['AUDIT', 'APPROVALS', 'WORK', 'THROTTLED', `JOBS_${agent?.tenant}_${agent?.actor}`]
  const consumers: [string, string][] = [
    ...streams.map((stream): [string, string] => [stream, 'gw']),
    ...credentials.flatMap(({ stream, consumer }): [string, string][] =>
      stream === undefined || consumer === undefined ? [] : [[stream, consumer]],
    ),
  ]
  const verbs = [
    ...['INFO', 'STREAM.LIST', 'STREAM.NAMES', 'STREAM.CREATE.SLUICE_VERIFY'],
    ...streams.flatMap((stream) => [
      ...streamVerbs.map((verb) => `STREAM.${verb}.${stream}`),
      ...[
        `DIRECT.GET.${stream}`,
        `DIRECT.GET.${stream}.x`,
        `CONSUMER.LIST.${stream}`,
        `CONSUMER.CREATE.${stream}`,
      ],
      ...[`CONSUMER.CREATE.${stream}.evil`, `CONSUMER.DURABLE.CREATE.${stream}.evil`],
    ]),
    ...consumers.flatMap(([stream, consumer]) =>
      ['INFO', 'DELETE', 'MSG.NEXT'].map((verb) => `CONSUMER.${verb}.${stream}.${consumer}`),
    ),
  ]
  return [
    ...verbs.flatMap((verb) => [`$JS.API.${verb}`, `gov.API.${verb}`]),
    ...consumers.flatMap(([stream, consumer]) => [
      `$JS.ACK.${stream}.${consumer}.1.1.1.1.0`,
      `$JS.ACK.dom.hash.${stream}.${consumer}.1.1.1.1.0.x`,
    ]),
  ]
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)]
}
