import { z } from 'zod'

import { parseDeadlineMs } from '../../policy/deadline.ts'
import type { Topology } from '../config/topology.ts'
import { checkYaml, type FileResult } from '../config/yaml-file.ts'

/** What somebody may do over HTTP; access.ts says what each of them opens. */
export const roles = ['agent', 'viewer', 'approver', 'operator', 'auditor'] as const
export type Role = (typeof roles)[number]

const Name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'must be 1 to 32 of a-z, 0-9 and -, and not begin with -')
const Expires = z.string().refine((text) => expiryMs(text) !== undefined, {
  message: 'must be a date (2030-01-31) or a time with a zone (2030-01-31T12:00:00Z)',
})
const Entry = z.strictObject({
  principal: Name,
  sha256: z.string().regex(/^[0-9a-f]{64}$/, 'must be the SHA-256 of a token: 64 of 0-9 and a-f'),
  roles: z.array(z.enum(roles)).min(1),
  tenants: z.union([z.literal('all', { error: 'must be all or a list of tenants' }), z.array(Name)]),
  agent: Name.optional(),
  expires: Expires.optional(),
})
const File = z.strictObject({ tokens: z.array(Entry).default([]) })

/**
 * One token, known by its hash. `tenants` is what its roles reach; an agent's token is bound to one tenant and one agent.
 * A principal may have several entries, so that a new token can be handed out before the old one goes.
 */
export type TokenEntry = z.infer<typeof Entry>

/** Checks the text of a tokens file, and against the topology if there is one; no problem ever quotes a token or a hash. */
export function parseTokens(file: string, text: string, topology?: Topology): FileResult<TokenEntry[]> {
  const shape = File.superRefine(({ tokens }, context) => {
    for (const { path, message } of contradictions(tokens, topology))
      context.addIssue({ code: 'custom', path: ['tokens', ...path], message })
  })
  const checked = checkYaml(file, text, shape)
  if (checked.ok) return { ...checked, value: checked.value.tokens }
  const problems = checked.problems.map((problem) => ({ ...problem, message: withheld(problem.message) }))
  return { ok: false, problems }
}

/** From when on a token is refused, in milliseconds since the epoch; a date alone is its first moment, in UTC. */
export function expiryMs(text: string): number | undefined {
  return parseDeadlineMs(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00Z` : text)
}

/** Somebody may paste a token where its hash belongs, or either where a name belongs; nothing else here is so long. */
function withheld(message: string): string {
  return message.replace(/[A-Za-z0-9_-]{33,}/g, '(withheld)')
}

type Contradiction = { path: (string | number)[]; message: string }

/** What each entry may say alone, but not beside the others or beside the topology. */
function contradictions(entries: readonly TokenEntry[], topology: Topology | undefined): Contradiction[] {
  const hashes = new Map<string, number>()
  return entries.flatMap((entry, index) => {
    const first = hashes.get(entry.sha256)
    if (first === undefined) hashes.set(entry.sha256, index)
    const twice =
      first === undefined ? [] : [{ path: ['sha256'], message: `is already the one of entry ${first + 1}` }]
    return [...twice, ...ofEntry(entry), ...(topology === undefined ? [] : beside(entry, topology))].map(
      ({ path, message }) => ({ path: [index, ...path], message }),
    )
  })
}

function ofEntry(entry: TokenEntry): Contradiction[] {
  const isAgent = entry.roles.includes('agent')
  if (!isAgent && entry.agent !== undefined)
    return [{ path: ['agent'], message: 'is only for the role agent' }]
  if (!isAgent) return []
  const found: Contradiction[] = []
  // Who submits must not hold, with the same secret, the key to approve it.
  if (entry.roles.length > 1)
    found.push({ path: ['roles'], message: 'agent stands alone: give people a token of their own' })
  if (entry.tenants === 'all' || entry.tenants.length !== 1)
    found.push({ path: ['tenants'], message: 'must be exactly one tenant for the role agent' })
  if (entry.agent === undefined)
    found.push({ path: ['roles'], message: 'agent needs "agent": the name of the agent that submits' })
  return found
}

function beside({ principal, roles: held, tenants, agent }: TokenEntry, topology: Topology): Contradiction[] {
  const found: Contradiction[] = []
  const isApprover = topology.approvers.includes(principal)
  if (held.includes('approver') && !isApprover)
    found.push({
      path: ['principal'],
      message: 'must be an approver of the topology, so that a person is one voter by NATS and by HTTP',
    })
  if (held.includes('agent') && isApprover)
    found.push({ path: ['principal'], message: 'is an approver and must not submit jobs as an agent' })
  const decides = topology.approverTenants.get(principal)
  const reached = tenants === 'all' ? topology.tenants.map(({ name }) => name) : tenants
  if (held.includes('approver') && decides !== undefined && !reached.every((name) => decides.includes(name)))
    found.push({
      path: ['tenants'],
      message: `must be some of ${decides.join(', ')}: the topology gives this approver no others`,
    })
  for (const [index, name] of (tenants === 'all' ? [] : tenants).entries()) {
    const tenant = topology.tenants.find((one) => one.name === name)
    if (tenant === undefined)
      found.push({ path: ['tenants', index], message: 'is not a tenant of the topology' })
    else if (agent !== undefined && !tenant.agents.some((one) => one.name === agent))
      found.push({ path: ['agent'], message: `is not an agent of tenant ${name}` })
  }
  return found
}
