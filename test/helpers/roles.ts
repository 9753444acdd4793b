import { credentialsOf } from '../../cli/dev/credentials.ts'
import type { Passwords } from '../../cli/dev/nats-conf.ts'
import { gatewayCredential, type RoleCredential } from '../../cli/nats-grants.ts'
import type { Topology } from '../../gateway/config/topology.ts'

/** Everybody that `sluice nats verify` tries things as, the gateway too. */
export function everybody(topology: Topology, passwords: Passwords): RoleCredential[] {
  return [...credentialsOf(topology, passwords), gatewayCredential(passwords['gateway'] ?? '')]
}
