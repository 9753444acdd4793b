import { join } from 'node:path'

import { version } from '../../gateway/version.ts'
import { exitCodes } from '../exit-codes.ts'
import { banner } from './banner.ts'
import { choosePorts, portNotes, rememberNatsPort } from './choose-ports.ts'
import { credentialsOf } from './credentials.ts'
import { claimDataDir, storedPasswords } from './data-dir.ts'
import { readInputs, type Inputs } from './inputs.ts'
import { findNats } from './nats-binary.ts'
import { type DevOptions } from './options.ts'
import { readyFile, readyNow, type ReadyFile } from './ready.ts'
import { GatewayEnded, Opened, startStack, type Stack } from './stack.ts'
import { stopAsked } from './stop-asked.ts'

const say = (line: string): void => console.error(line)

/** Starts everything, says what listens where, and stays until it is asked to end. Returns the exit code. */
export async function run(options: DevOptions): Promise<number> {
  const stop = stopAsked(process.env)
  const read = await readInputs(options.policy, process.cwd())
  if (!read.ok) {
    for (const problem of read.problems) say(problem)
    return exitCodes.badConfiguration
  }
  const claimed = await claimDataDir(options.dataDir, process.cwd())
  if (!claimed.ok) {
    say(claimed.problem)
    return exitCodes.failed
  }
  const { dataDir, inUse } = claimed
  const place = {
    dataDir: dataDir.path,
    inUse,
    opened: new Opened(),
    file: readyFile(join(dataDir.path, 'ready.json')),
  }
  try {
    // Whichever comes first: a person may lose patience while things start.
    const failed = await Promise.race([start(options, read.inputs, place), stop.then(() => undefined)])
    if (failed !== undefined) return failed
    await stop
    say('ending: gateways, workers and nats-server')
    return exitCodes.ok
  } finally {
    await place.opened.close()
    await place.file.remove()
    await dataDir.release()
  }
}

type Place = { dataDir: string; inUse: string[]; opened: Opened; file: ReadyFile }

/** Undefined when everything is up and said, else the exit code. */
async function start(options: DevOptions, inputs: Inputs, place: Place): Promise<number | undefined> {
  const { dataDir, opened, file } = place
  const search = await findNats(process.env, say)
  if (!search.ok) {
    for (const line of search.lines) say(line)
    return exitCodes.unreachable
  }
  const ports = await choosePorts(options, dataDir)
  if (!ports.ok) {
    say(ports.problem)
    return exitCodes.failed
  }
  const passwords = await storedPasswords(dataDir, inputs.topology)
  const credentials = credentialsOf(inputs.topology, passwords)
  const known = { dataDir, snapshot: inputs.policy.snapshot, credentials }
  let stack: Stack | undefined
  const changed = (): void => {
    if (stack !== undefined)
      void file.write(readyNow(stack, known)).catch((error: Error) => say(`ready.json: ${error.message}`))
  }
  try {
    stack = await startStack(
      {
        ...{ inputs, dataDir, passwords, credentials, say, changed, demo: options.demo },
        natsBinary: search.nats.binary,
        natsPort: ports.nats,
        httpPorts: ports.http,
      },
      opened,
    )
  } catch (error) {
    if (!(error instanceof GatewayEnded)) throw error
    say(error.message)
    return error.code
  }
  const ready = readyNow(stack, known)
  await rememberNatsPort(dataDir, ready.nats_url)
  await file.write(ready)
  const others = place.inUse.map(
    (other) => `${other} is in use by another sluice dev; this one has a folder of its own`,
  )
  const notes = [...others, ...portNotes(options, ready.http_url)]
  if (options.json) {
    for (const note of notes) say(note)
    console.log(JSON.stringify(ready))
  } else {
    const { workers } = stack
    console.log(banner({ version, nats: search.nats, inputs, ready, workers, notes }))
  }
  return undefined
}
