import { consumersOf, noticesOf } from '../../gateway/nats/approver-consumers.ts'
import { placedAgents, type Topology } from '../../gateway/config/topology.ts'
import { type Passwords } from './nats-conf.ts'

/** What somebody needs to connect, and what they may do there. The names are those of ready.json. */
export type Credential = {
  role: 'agent' | 'worker' | 'approver' | 'auditor' | 'operator'
  user: string
  password: string
  account: string
  inbox_prefix: string
  tenant?: string
  actor: string
  /** Agents: what stands before the topic's own tokens. */
  publish?: string
  subscribe?: string[]
  queue?: string
  /** Workers: where the gateway says that a job is to be stopped. */
  cancel?: string
  pool?: string
  topics?: string[]
  js_api_prefix?: string
  stream?: string
  consumer?: string
}

/** Where the JetStream API is for those who are let to a part of it. */
const apiPrefix = 'gov.API'
const peopleAccount = 'OPS'

/** The credentials of everybody outside the gateway, as the topology names them. */
export function credentialsOf(topology: Topology, passwords: Passwords): Credential[] {
  const common = (
    user: string,
    account: string,
  ): Pick<Credential, 'user' | 'password' | 'account' | 'inbox_prefix'> => ({
    user,
    password: passwords[user] ?? '',
    account,
    inbox_prefix: `_INBOX_${user}`,
  })
  const agents = placedAgents(topology).map(({ tenant, name, account, user, alone }): Credential => {
    const who = { role: 'agent' as const, ...common(user, account), tenant, actor: name }
    return alone
      ? { ...who, inbox_prefix: '_INBOX', publish: 'job.', subscribe: ['decision.>', 'output.>'] }
      : { ...who, publish: `job.${name}.`, subscribe: [] }
  })
  const workers = topology.pools.flatMap((pool) =>
    pool.workers.map((worker): Credential => {
      const who = { role: 'worker' as const, ...common(worker, pool.account), actor: worker }
      const work = { pool: pool.name, topics: pool.topics, cancel: `cancel.${worker}.>` }
      return pool.delivery === 'core'
        ? { ...who, ...work, subscribe: [`worker.${pool.name}.>`], queue: pool.name }
        : { ...who, ...work, subscribe: [], js_api_prefix: apiPrefix, stream: 'WORK', consumer: pool.name }
    }),
  )
  const approvers = topology.approvers.map((name): Credential => ({
    role: 'approver',
    ...common(name, peopleAccount),
    actor: name,
    js_api_prefix: apiPrefix,
    stream: 'APPROVALS',
    consumer: consumersOf(topology, name)[0] ?? '',
    subscribe: [...noticesOf(topology, name)],
  }))
  const auditors = topology.auditors.map((name): Credential => ({
    role: 'auditor',
    ...common(name, peopleAccount),
    actor: name,
    js_api_prefix: apiPrefix,
    stream: 'AUDIT',
    subscribe: ['approvals.notify.>'],
  }))
  const operators = topology.operators.map((name): Credential => ({
    role: 'operator',
    ...common(name, peopleAccount),
    actor: name,
  }))
  return [...agents, ...workers, ...approvers, ...auditors, ...operators]
}
