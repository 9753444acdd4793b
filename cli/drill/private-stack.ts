import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { credentialsOf } from '../dev/credentials.ts'
import { storedPasswords } from '../dev/data-dir.ts'
import { readInputs } from '../dev/inputs.ts'
import { findNats } from '../dev/nats-binary.ts'
import { freePort } from '../dev/ports.ts'
import { projectRoot } from '../dev/project.ts'
import { Opened, startStack } from '../dev/stack.ts'
import { exitCodes } from '../exit-codes.ts'
import { careRules, withOwner } from './scene-care.ts'
import type { Place } from './stage.ts'

/** A stack of the drill's own, on free ports, in a folder that is gone afterwards. */
export type PrivateStack =
  | { readonly ok: true; readonly place: Place; close(): Promise<void> }
  | { readonly ok: false; readonly code: number; readonly lines: readonly string[] }

/** Starts what `sluice dev` starts: a server, a gateway, the demo workers. */
export async function startPrivateStack(say: (line: string) => void): Promise<PrivateStack> {
  const search = await findNats(process.env, say)
  if (!search.ok) return { ok: false, code: exitCodes.unreachable, lines: search.lines }
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-drill-'))
  const policy = await drillPolicy(dataDir)
  const read = await readInputs(policy, process.cwd())
  if (!read.ok) {
    await rm(dataDir, { recursive: true })
    return { ok: false, code: exitCodes.badConfiguration, lines: read.problems }
  }
  const inputs = { ...read.inputs, topologyFile: await drillTopology(dataDir, read.inputs.topologyFile) }
  const opened = new Opened()
  const close = async (): Promise<void> => {
    await opened.close()
    await rm(dataDir, { recursive: true, force: true })
  }
  try {
    const passwords = await storedPasswords(dataDir, inputs.topology)
    const credentials = credentialsOf(inputs.topology, passwords)
    const { nats, gateways } = await startStack(
      {
        ...{ inputs, dataDir, passwords, credentials, say },
        natsBinary: search.nats.binary,
        natsPort: -1,
        httpPorts: [{ port: await freePort(0), asked: false }],
        demo: true,
        changed: () => undefined,
      },
      opened,
    )
    return {
      ok: true,
      place: { nats_url: nats.url, http_url: gateways[0]?.httpUrl ?? '', data_dir: dataDir, credentials },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** The demo's policy, and the rules for what the demo has no rule for. */
async function drillPolicy(dataDir: string): Promise<string> {
  const file = join(dataDir, 'policy.yaml')
  await writeFile(file, (await readFile(join(projectRoot, 'deploy', 'policy.yaml'), 'utf8')) + careRules)
  return file
}

async function drillTopology(dataDir: string, demo: string): Promise<string> {
  const file = join(dataDir, 'topology.yaml')
  await writeFile(file, withOwner(await readFile(demo, 'utf8')))
  return file
}
