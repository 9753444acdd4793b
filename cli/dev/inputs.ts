import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { limitsOf, readSettings } from '../../gateway/config/config.ts'
import { need } from '../../gateway/config/settings.ts'
import { type StreamLimits } from '../../gateway/nats/streams.ts'
import { parseTopology, type Topology } from '../../gateway/config/topology.ts'
import { problemText } from '../../gateway/config/yaml-file.ts'
import { loadPolicy, type Policy } from '../../policy/load.ts'
import { privateEnv } from './private-env.ts'
import { projectRoot } from './project.ts'

/** The files that say what is started, checked before anything is. */
export type Inputs = {
  policyFile: string
  policy: Policy
  topologyFile: string
  topology: Topology
  conf: string
  /** From `SLUICE_LIMITS_...` and `SLUICE_FAIL_MODE`, which the gateways inherit too. */
  limits: StreamLimits
  failMode: 'closed' | 'open'
}

/** Reads nats.conf, the topology and the policy; every problem has its line and column. */
export async function readInputs(
  policy: string | undefined,
  cwd: string,
): Promise<{ ok: true; inputs: Inputs } | { ok: false; problems: string[] }> {
  const topologyFile = join(projectRoot, 'deploy', 'topology.yaml')
  const policyFile = policy === undefined ? join(projectRoot, 'deploy', 'policy.yaml') : resolve(cwd, policy)
  const text = await readFile(policyFile, 'utf8').catch(() => undefined)
  if (text === undefined)
    return { ok: false, problems: [`${policyFile} cannot be read; --policy says where it is`] }
  const loaded = loadPolicy(text)
  if (!loaded.ok) {
    const problems = loaded.problems.map(({ line = 1, column = 1, message }) =>
      problemText({ file: policy ?? policyFile, line, column, message }),
    )
    return { ok: false, problems }
  }
  const topology = parseTopology(topologyFile, await readFile(topologyFile, 'utf8'))
  if (!topology.ok) return { ok: false, problems: topology.problems.map(problemText) }
  const settings = await readSettings({ flags: {}, env: privateEnv(process.env), cwd: projectRoot })
  if (!settings.ok) return settings
  return {
    ok: true,
    inputs: {
      policyFile,
      policy: loaded.policy,
      topologyFile,
      topology: topology.value,
      conf: await readFile(join(projectRoot, 'nats.conf'), 'utf8'),
      limits: limitsOf(settings.values),
      failMode: need(settings.values, 'fail_mode'),
    },
  }
}
