import { connectBus } from '../../gateway/bus/bus.ts'
import { provision, type Provisioned } from '../../gateway/nats/provision.ts'
import { planStreams, type StreamLimits } from '../../gateway/nats/streams.ts'
import { type Topology } from '../../gateway/config/topology.ts'
import { withOwner } from './nats-conf.ts'
import { startNatsProcess, type NatsProcess, type NatsProcessOptions } from './nats-process.ts'

export type ProvisionedNatsOptions = NatsProcessOptions & { topology: Topology; limits: StreamLimits }

/**
 * A server with all streams, whose owner is gone: it runs once with the owner's user while the streams are made, and
 * then, with the configuration as it stands in the file, for good.
 */
export async function startProvisionedNats(
  options: ProvisionedNatsOptions,
): Promise<{ server: NatsProcess; provisioned: Provisioned[] }> {
  const owned = await startNatsProcess({ ...options, conf: withOwner(options.conf), port: -1 })
  let provisioned: Provisioned[]
  try {
    provisioned = await provisionAs(
      owned.url,
      options.passwords['owner'] ?? '',
      options.topology,
      options.limits,
    )
  } finally {
    await owned.stop()
  }
  return { server: await startNatsProcess(options), provisioned }
}

/** Provisions a running server with the owner's password. */
export async function provisionAs(
  url: string,
  password: string,
  topology: Topology,
  limits: StreamLimits,
): Promise<Provisioned[]> {
  const bus = await connectBus({
    url,
    user: 'owner',
    password,
    inboxPrefix: '_INBOX_owner',
    name: 'sluice provision',
  })
  try {
    return await provision(
      (subject, body) => bus.request(subject, body),
      planStreams(topology, limits),
      'apply',
    )
  } finally {
    await bus.close()
  }
}
