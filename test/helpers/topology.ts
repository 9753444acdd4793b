import { readFile } from 'node:fs/promises'

import { parseTopology, type Topology } from '../../gateway/config/topology.ts'

/** The topology of the demo, as deploy/topology.yaml has it. */
export async function demoTopology(): Promise<Topology> {
  const file = 'deploy/topology.yaml'
  const result = parseTopology(file, await readFile(file, 'utf8'))
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  return result.value
}
