import type { Finding } from './doctor-server.ts'
import { accountsOf, listOf, mapOf, owner, type ConfMap } from './conf-values.ts'

/**
 * What differs from the configuration that the topology asks for: users whose permissions are others, accounts that
 * export or import something else, or that have what the plan does not (mappings, permissions for everybody).
 */
export function confDrift(conf: ConfMap, wanted: ConfMap): Finding[] {
  const [here, planned] = [accountsOf(conf), accountsOf(wanted)]
  const names = new Set([...here.keys(), ...planned.keys()])
  return [...names].flatMap((name): Finding[] => {
    const parts = new Set([...Object.keys(here.get(name) ?? {}), ...Object.keys(planned.get(name) ?? {})])
    const differences = [...parts].filter(
      (part) => partText(here.get(name), part) !== partText(planned.get(name), part),
    )
    if (differences.length === 0) return []
    return [
      {
        id: `conf-drift:${name}`,
        severity: 'warning',
        what: `account ${name} has other ${differences.join(' and ')} than the topology asks for`,
        todo: 'compare with sluice nats conf --topology FILE, and write the one or change the other',
      },
    ]
  })
}

/** One part of an account as text that can be compared: credentials are nobody's drift, and neither is the owner. */
function partText(account: ConfMap | undefined, part: string): string {
  if (!['users', 'exports', 'imports'].includes(part)) return JSON.stringify(account?.[part])
  const entries = listOf(account?.[part]).map(mapOf)
  const compared =
    part === 'users'
      ? entries.filter(({ user }) => user !== owner).map(({ permissions }) => permissions ?? 'none')
      : entries
  return compared
    .map((entry) => JSON.stringify(entry))
    .toSorted()
    .join('\n')
}
