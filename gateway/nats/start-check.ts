import type { Bus } from '../bus/bus.ts'
import type { Config } from '../config/config.ts'
import { lookAtServer } from './doctor-look.ts'
import { serverFindings, type Finding } from './doctor-server.ts'
import type { Log } from '../log.ts'
import { planStreams } from './streams.ts'
import type { Topology } from '../config/topology.ts'

/** Thrown when the gate would not be safe on this server, and nobody has said in writing that it starts all the same. */
export class UnsafeServer extends Error {
  constructor(findings: readonly Finding[]) {
    const lines = findings.flatMap(({ id, what, todo }) => [`${id}: ${what}`, `  ${todo}`])
    const ids = findings.map(({ id }) => id).join(', ')
    super(
      [
        'this server is not safe to stand behind the gate:',
        ...lines,
        `To start all the same, write accept_findings: [${ids}] into sluice.yaml; it stands on record at every start.`,
      ].join('\n'),
    )
    this.name = 'UnsafeServer'
  }
}

/**
 * Looks at the server as the gateway's credential sees it, before anything is decided; throws `UnsafeServer`. Returns the
 * fatal findings that are accepted in writing. Who else may say what cannot be seen from here: `sluice doctor --conf`
 * reads that.
 */
export async function checkServer(
  bus: Bus,
  config: Config,
  topology: Topology,
  nowMs: () => number,
  log: Log,
): Promise<readonly Finding[]> {
  const facts = await lookAtServer(bus, planStreams(topology, config.limits), nowMs)
  const findings = serverFindings(facts, true)
  const fatal = findings.filter(({ severity }) => severity === 'fatal')
  const refused = fatal.filter(({ id }) => !config.acceptFindings.includes(id))
  if (refused.length > 0) throw new UnsafeServer(refused)
  for (const { id, severity, what, todo } of findings)
    if (severity !== 'note') log.warn({ finding: id, what, todo }, 'sluice doctor finds')
  return fatal
}
