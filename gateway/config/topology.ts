import { z } from 'zod'

import { patternProblem, subjectMatches } from '../../policy/topic.ts'
import { checkYaml, type FileResult } from './yaml-file.ts'

const Name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'must be 1 to 32 of a-z, 0-9 and -, and not begin with -')
const Account = z
  .string()
  .regex(/^[A-Z0-9][A-Z0-9_]{0,63}$/, 'must be an account of nats.conf, like POOL_EXEC')
const TopicPattern = z.string().superRefine((pattern, context) => {
  const problem = patternProblem(pattern)
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
})

const Agent = z.strictObject({
  name: Name,
  account: Account,
  user: Name,
  /** The person who answers for this agent, and so never decides about its jobs. */
  owner: Name.optional(),
})
const Members = z.record(Name, z.array(Name)).default({})
const Tenant = z.strictObject({ name: Name, agents: z.array(Agent).min(1) })
const Pool = z.strictObject({
  name: Name.refine((name) => name !== 'gw', 'gw is the name of the gateway itself'),
  account: Account,
  delivery: z.enum(['core', 'pull']),
  topics: z.array(TopicPattern).min(1),
  workers: z.array(Name).min(1),
})

/** A name alone decides for all tenants; with `tenants`, jobs of others do not exist for this person. */
const Approver = z.union([Name, z.strictObject({ name: Name, tenants: z.array(Name).min(1) })])

const Topology = z
  .strictObject({
    tenants: z.array(Tenant).min(1),
    pools: z.array(Pool).min(1),
    approvers: z.array(Approver),
    /** Which approvers a policy means by a group or a role. */
    groups: Members,
    roles: Members,
    auditors: z.array(Name),
    /** Who may use the kill switch over NATS. */
    operators: z.array(Name).default([]),
  })
  .superRefine((topology, context) => {
    for (const { path, message } of contradictions(topology))
      context.addIssue({ code: 'custom', path, message })
  })

function nameOf(approver: z.infer<typeof Approver>): string {
  return typeof approver === 'string' ? approver : approver.name
}

/**
 * Who is on the bus: tenants with their agents, pools with their workers, approvers, auditors and operators. The server enforces
 * it (nats.conf has the same names); this says it to the gateway. A worker's and a person's user has its
 * name; an agent's user may have another, because agent names repeat between tenants and user names do not.
 */
export type Topology = Omit<z.infer<typeof Topology>, 'approvers'> & {
  readonly approvers: readonly string[]
  /** Approvers who do not decide for all tenants, and for which they do. */
  readonly approverTenants: ReadonlyMap<string, readonly string[]>
}

/** One set of workers: `core` is pushed to (queue group), `pull` fetches from WORK. Never both. */
export type Pool = z.infer<typeof Pool>

/** An agent with the tenant it belongs to, and whether it has its account to itself (then it publishes plain `job.<topic>`). */
export type PlacedAgent = z.infer<typeof Agent> & { tenant: string; alone: boolean }

/** Checks the text of a topology file; the problems carry line and column. */
export function parseTopology(file: string, text: string): FileResult<Topology> {
  const checked = checkYaml(file, text, Topology)
  if (!checked.ok) return checked
  const { approvers, ...rest } = checked.value
  const limited = approvers.flatMap((one): [string, readonly string[]][] =>
    typeof one === 'string' ? [] : [[one.name, one.tenants]],
  )
  return {
    ...checked,
    value: { ...rest, approvers: approvers.map(nameOf), approverTenants: new Map(limited) },
  }
}

/**
 * The pool that works on a topic (`job.a.b`): the first in file order that claims it. No pool is an answer too, and
 * then nothing can be dispatched.
 */
export function poolFor(topology: Topology, topic: string): Pool | undefined {
  const known = found.get(topology) ?? new Map<string, Pool | undefined>()
  found.set(topology, known)
  if (known.has(topic)) return known.get(topic)
  const pool = topology.pools.find(({ topics }) => topics.some((pattern) => subjectMatches(pattern, topic)))
  if (known.size >= foundMax) known.clear()
  known.set(topic, pool)
  return pool
}

/** Agents name the topics, so only so many are remembered. */
const foundMax = 4_096
const found = new WeakMap<Topology, Map<string, Pool | undefined>>()

/** Every agent of every tenant, in file order. */
export function placedAgents(topology: Topology): PlacedAgent[] {
  const agents = topology.tenants.flatMap((tenant) =>
    tenant.agents.map((agent) => ({ ...agent, tenant: tenant.name })),
  )
  return agents.map((agent) => ({
    ...agent,
    alone: agents.filter((other) => other.account === agent.account).length === 1,
  }))
}

/** Whether a tenant's jobs exist for this approver. */
export function decidesFor({ approverTenants }: Topology, approver: string, tenant: string): boolean {
  return approverTenants.get(approver)?.includes(tenant) ?? true
}

type Contradiction = { path: (string | number)[]; message: string }

/** What each entry may say alone but not beside the others: a name used twice, an account that would mix two owners. */
function contradictions(topology: z.infer<typeof Topology>): Contradiction[] {
  const found: Contradiction[] = []
  const once = (taken: Map<string, string>, name: string, what: string, path: (string | number)[]): void => {
    const first = taken.get(name)
    if (first !== undefined) found.push({ path, message: `'${name}' is already ${first}` })
    else taken.set(name, what)
  }
  const users = new Map([
    ['gateway', 'the gateway'],
    ['owner', 'the owner of the streams'],
    ['sys', 'the system user'],
  ])
  const tenants = new Map<string, string>()
  const pools = new Map<string, string>()
  const accounts = new Map([
    ['GOV', 'the gateway'],
    ['SYS', 'the system'],
    ['OPS', 'approvers, auditors and operators'],
  ])
  for (const [index, tenant] of topology.tenants.entries()) {
    once(tenants, tenant.name, 'a tenant', ['tenants', index, 'name'])
    const names = new Map<string, string>()
    for (const [position, agent] of tenant.agents.entries()) {
      const path = ['tenants', index, 'agents', position]
      once(names, agent.name, `an agent of ${tenant.name}`, [...path, 'name'])
      once(users, agent.user, `the user of agent ${tenant.name}/${agent.name}`, [...path, 'user'])
      const owner = accounts.get(agent.account)
      if (owner === undefined) accounts.set(agent.account, `tenant ${tenant.name}`)
      else if (owner !== `tenant ${tenant.name}`) {
        found.push({ path: [...path, 'account'], message: `'${agent.account}' already belongs to ${owner}` })
      }
    }
  }
  for (const [index, pool] of topology.pools.entries()) {
    once(pools, pool.name, 'a pool', ['pools', index, 'name'])
    once(accounts, pool.account, `the account of pool ${pool.name}`, ['pools', index, 'account'])
    for (const [position, worker] of pool.workers.entries()) {
      once(users, worker, `a worker of ${pool.name}`, ['pools', index, 'workers', position])
    }
  }
  const approvers = topology.approvers.map(nameOf)
  for (const [index, approver] of topology.approvers.entries()) {
    once(users, nameOf(approver), 'an approver', ['approvers', index])
    if (typeof approver === 'string') continue
    for (const [position, name] of approver.tenants.entries())
      if (!tenants.has(name))
        found.push({ path: ['approvers', index, 'tenants', position], message: `'${name}' is not a tenant` })
  }
  for (const kind of ['groups', 'roles'] as const)
    for (const [name, members] of Object.entries(topology[kind]))
      for (const [index, member] of members.entries())
        if (!approvers.includes(member))
          found.push({ path: [kind, name, index], message: `'${member}' is not an approver` })
  for (const [index, name] of topology.auditors.entries())
    once(users, name, 'an auditor', ['auditors', index])
  for (const [index, name] of topology.operators.entries())
    once(users, name, 'an operator', ['operators', index])
  return found
}
