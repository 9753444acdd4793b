import { approverConsumers, consumersOf, noticesOf } from './approver-consumers.ts'
import { buckets, gatewayConsumer } from './streams.ts'
import { placedAgents, type Pool, type PlacedAgent, type Topology } from '../config/topology.ts'

/** A user and all it may do; a queue group stands after a space, as nats.conf has it. */
export type NatsUser = { user: string; publish: string[]; subscribe: string[] }

/**
 * What an account takes from GOV, which exports it to this account and no other, and under which subject it has it.
 * `streamed`: one request has many answers, which the export must say.
 */
export type NatsImport = { kind: 'service' | 'stream'; subject: string; to?: string; streamed?: true }

/** One account of nats.conf; `about` is what its reader should know. */
export type NatsAccount = {
  name: string
  about: string
  users: NatsUser[]
  imports: NatsImport[]
}

/** The accounts by what they are for, in the order of nats.conf. GOV has the gateway alone and exports what they import. */
export type NatsLayout = {
  gateway: NatsUser
  agents: NatsAccount[]
  pools: NatsAccount[]
  people: NatsAccount
}

export const peopleAccount = 'OPS'

/** Where an account without JetStream has the part of the JetStream API that it is let to. */
const apiPrefix = 'gov.API'

/**
 * The account layout as data: who may say and hear what. Permissions are allow-lists only; every tenant, pool and the
 * people have accounts of their own, whose imports add who they really are to what they say.
 */
export function natsLayout(topology: Topology): NatsLayout {
  return {
    gateway: gatewayUser,
    agents: agentAccounts(placedAgents(topology)),
    pools: topology.pools.map((pool) => (pool.delivery === 'core' ? corePool(pool) : pullPool(pool))),
    people: peopleOf(topology),
  }
}

/** Every account but GOV and SYS. */
export function outsideAccounts({ agents, pools, people }: NatsLayout): NatsAccount[] {
  return [...agents, ...pools, ...(people.users.length > 0 ? [people] : [])]
}

const gatewayUser: NatsUser = {
  user: 'gateway',
  publish: [
    ...['audit.>', 'gov.dispatch.>', 'gov.throttled.>', 'gov.quarantine.>', 'gov.command.>'],
    ...['approvals.pending.>', 'decision.>', 'output.>', 'cancel.>', 'http.>', '_R_.>', 'approvals.notify.>'],
    ...buckets.map((bucket) => `$KV.${bucket}.>`),
    ...['$JS.API.STREAM.INFO.*', '$JS.API.STREAM.MSG.GET.*', '$JS.API.DIRECT.GET.>'],
    ...['APPROVALS', 'WORK', 'THROTTLED'].map((stream) => `$JS.API.STREAM.MSG.DELETE.${stream}`),
    `$JS.API.CONSUMER.INFO.*.${gatewayConsumer}`,
    `$JS.API.CONSUMER.MSG.NEXT.*.${gatewayConsumer}`,
    ...acknowledgements('*', gatewayConsumer),
  ],
  subscribe: [
    ...[inboxOf('gateway'), 'job.>', 'decision.>', 'approvals.resolve.>'],
    ...['control.>', 'hb.>'],
  ],
}

function agentAccounts(agents: readonly PlacedAgent[]): NatsAccount[] {
  const names = new Set(agents.map(({ account }) => account))
  return [...names].map((name) => {
    const members = agents.filter(({ account }) => account === name)
    const [first] = members
    return members.length === 1 && first !== undefined ? loneAgent(name, first) : siblings(name, members)
  })
}

function loneAgent(name: string, { tenant, name: agent, user }: PlacedAgent): NatsAccount {
  const feeds = ['decision', 'output'] as const
  return {
    name,
    about: `Agent ${agent} of tenant ${tenant}, alone: it says plain job.<topic>, and its decisions and outputs come to it.`,
    users: [{ user, publish: ['job.>'], subscribe: ['_INBOX.>', ...feeds.map((feed) => `${feed}.>`)] }],
    imports: [
      { kind: 'service', subject: `job.${tenant}.${agent}.>`, to: 'job.>' },
      ...feeds.map((feed): NatsImport => ({
        kind: 'stream',
        subject: `${feed}.${tenant}.${agent}.>`,
        to: `${feed}.>`,
      })),
    ],
  }
}

function siblings(name: string, members: readonly PlacedAgent[]): NatsAccount {
  const tenant = members[0]?.tenant ?? ''
  return {
    name,
    about:
      `Agents of tenant ${tenant} that share an account: job.<agent>.<topic>, the agent pinned by its permissions. They hear ` +
      "no decision.> or output.>, because a reply subject could put one agent's answer on another's feed.",
    users: members.map(({ name: agent, user }) => ({
      user,
      publish: [`job.${agent}.>`],
      subscribe: [inboxOf(user)],
    })),
    // One import for all of them: the server does not take an answer into the import that the question went out by, so a
    // reply subject cannot make it a sibling's job. With an import for each agent it can.
    imports: [{ kind: 'service', subject: `job.${tenant}.>`, to: 'job.>' }],
  }
}

function corePool({ name, account: accountName, workers }: Pool): NatsAccount {
  return {
    name: accountName,
    about: `Pool ${name} is pushed to: a plain subscription in the queue group of the pool's name. No JetStream for it.`,
    users: workers.map((worker) => ({
      user: worker,
      publish: [`result.${worker}.>`, `hb.${worker}`],
      subscribe: [inboxOf(worker), `worker.${name}.> ${name}`, `cancel.${worker}.>`],
    })),
    imports: [{ kind: 'stream', subject: `worker.${name}.>` }, ...workImports(name)],
  }
}

function pullPool({ name, account: accountName, workers }: Pool): NatsAccount {
  const consumer = consumerImports('WORK', name)
  return {
    name: accountName,
    about: `Pool ${name} fetches from WORK and hears nothing on worker.>.`,
    users: workers.map((worker) => ({
      user: worker,
      publish: [`result.${worker}.>`, `hb.${worker}`, ...consumer.map(({ subject, to }) => to ?? subject)],
      subscribe: [inboxOf(worker), `cancel.${worker}.>`],
    })),
    imports: [...consumer, ...workImports(name)],
  }
}

function peopleOf(topology: Topology): NatsAccount {
  const { approvers, auditors, operators } = topology
  const pulls = new Map(
    approverConsumers(topology).map(({ name }) => [name, consumerImports('APPROVALS', name)]),
  )
  const pullsOf = (approver: string): NatsImport[] =>
    consumersOf(topology, approver).flatMap((name) => pulls.get(name) ?? [])
  const notices: NatsImport = { kind: 'stream', subject: 'approvals.notify.>' }
  // By sequence, from any replica or from the leader, as older clients do it.
  const verbs = ['DIRECT.GET.AUDIT', 'DIRECT.GET.AUDIT.>', 'STREAM.MSG.GET.AUDIT', 'STREAM.INFO.AUDIT']
  const reads: NatsImport[] = verbs.map((verb) => ({
    kind: 'service',
    subject: `$JS.API.${verb}`,
    to: `${apiPrefix}.${verb}`,
    ...(verb.startsWith('DIRECT') ? { streamed: true } : {}),
  }))
  const grants = (imports: readonly NatsImport[]): string[] => imports.map(({ subject, to }) => to ?? subject)
  return {
    name: peopleAccount,
    about:
      'Approvers read what waits and resolve under their own name; auditors read the trail; operators stop and resume under ' +
      'their own name.',
    users: [
      ...approvers.map((name) => ({
        user: name,
        publish: [`approvals.resolve.${name}.*.*`, ...grants(pullsOf(name))],
        subscribe: [inboxOf(name), ...noticesOf(topology, name)],
      })),
      ...auditors.map((name) => ({
        user: name,
        publish: grants(reads),
        subscribe: [inboxOf(name), notices.subject],
      })),
      ...operators.map((name) => ({
        user: name,
        publish: ['stop', 'resume', 'list'].map((verb) => `control.${name}.${verb}`),
        subscribe: [inboxOf(name)],
      })),
    ],
    imports: [
      ...(approvers.length > 0
        ? [{ kind: 'service' as const, subject: 'approvals.resolve.>' }, ...[...pulls.values()].flat()]
        : []),
      ...(auditors.length > 0 ? reads : []),
      ...(operators.length > 0 ? [{ kind: 'service' as const, subject: 'control.>' }] : []),
      ...(approvers.length + auditors.length > 0 ? [notices] : []),
    ],
  }
}

/** What every worker needs to say and hear, under its pool for the gateway and without it for the worker. */
function workImports(pool: string): NatsImport[] {
  return [
    { kind: 'stream', subject: `cancel.${pool}.>`, to: 'cancel.>' },
    { kind: 'service', subject: `result.${pool}.>`, to: 'result.>' },
    { kind: 'service', subject: `hb.${pool}.>`, to: 'hb.>' },
  ]
}

/** One consumer of GOV from outside. An account without JetStream answers on $JS.API itself, and says no: hence the prefix. */
function consumerImports(stream: string, consumer: string): NatsImport[] {
  const api = ['INFO', 'MSG.NEXT'].map((verb): NatsImport => ({
    kind: 'service',
    subject: `$JS.API.CONSUMER.${verb}.${stream}.${consumer}`,
    to: `${apiPrefix}.CONSUMER.${verb}.${stream}.${consumer}`,
    ...(verb === 'MSG.NEXT' ? { streamed: true } : {}),
  }))
  const acks = acknowledgements(stream, consumer).map((subject): NatsImport => ({ kind: 'service', subject }))
  return [...api, ...acks]
}

/** An acknowledgement has two forms; newer servers may use the second. */
function acknowledgements(stream: string, consumer: string): string[] {
  return [`$JS.ACK.${stream}.${consumer}.>`, `$JS.ACK.*.*.${stream}.${consumer}.>`]
}

function inboxOf(user: string): string {
  return `_INBOX_${user}.>`
}
