import { readFile } from 'node:fs/promises'

import { connectBus, type Bus } from '../gateway/bus/bus.ts'
import { BusError } from '../gateway/bus/message.ts'
import { limitsOf, readSettings, type ConfigSources } from '../gateway/config/config.ts'
import { need } from '../gateway/config/settings.ts'
import { createKeys } from '../gateway/config/keys.ts'
import { provision, type Provisioned } from '../gateway/nats/provision.ts'
import { planStreams, type StreamPlan } from '../gateway/nats/streams.ts'
import { parseTopology } from '../gateway/config/topology.ts'
import { problemText } from '../gateway/config/yaml-file.ts'
import { configSources, outputOptions } from './config-arguments.ts'
import { connectFailureCode } from './connect-failure.ts'
import { exitCodes } from './exit-codes.ts'

const help = `usage: sluice provision [--check] [--create-keys] [-o json] [--config FILE] [--topology FILE] [--server URL]

Makes the streams and consumers that the topology and the limits ask for, as the owner of the streams: user owner,
password in SLUICE_OWNER_PASSWORD or in the file named by SLUICE_OWNER_PASSWORD_FILE. The running gateway has no such
user; nats.conf says where its line goes while this runs. Safe to repeat. Never deletes a stream, and never lowers a
bound below what a stream holds.

--check        only look; exit code 1 if anything differs
--create-keys  first make the key file that all gateways share (setting keys), or add a key for each tenant that has
               none; what stands in it stays`

/** `sluice provision`. */
export async function run(args: string[]): Promise<number> {
  const read = configSources(args, { check: 'flag', 'create-keys': 'flag', ...outputOptions })
  if (!read.ok) {
    console.error(`${read.problem}\n\n${help}`)
    return exitCodes.usage
  }
  const { flags } = read.given
  if (flags.has('help')) {
    console.log(help)
    return exitCodes.ok
  }
  const request = await readRequest(read.sources)
  if (!request.ok) {
    for (const problem of request.problems) console.error(problem)
    return exitCodes.badConfiguration
  }
  if (flags.has('create-keys')) await createKeys(request.keysFile, request.tenants)
  const done = await asOwner(request, flags.has('check') ? 'check' : 'apply')
  if (typeof done === 'number') return done
  if (read.json) console.log(JSON.stringify(done))
  else for (const line of done.flatMap(reportLines)) console.log(line)
  return done.some(({ outcome }) => outcome === 'drifted') ? exitCodes.failed : exitCodes.ok
}

type ProvisionRequest = {
  url: string
  password: string
  plan: StreamPlan
  keysFile: string
  tenants: string[]
}

async function readRequest(
  sources: ConfigSources,
): Promise<({ ok: true } & ProvisionRequest) | { ok: false; problems: string[] }> {
  const settings = await readSettings(sources)
  if (!settings.ok) return settings
  const file = need(settings.values, 'topology')
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text === undefined)
    return { ok: false, problems: [`${file} cannot be read; --topology says where it is`] }
  const topology = parseTopology(file, text)
  if (!topology.ok) return { ok: false, problems: topology.problems.map(problemText) }
  const password = await ownerPassword(sources.env)
  if (password === '') {
    const problem =
      'the password of user owner is missing: set SLUICE_OWNER_PASSWORD or SLUICE_OWNER_PASSWORD_FILE'
    return { ok: false, problems: [problem] }
  }
  return {
    ok: true,
    url: need(settings.values, 'nats.url'),
    password,
    plan: planStreams(topology.value, limitsOf(settings.values)),
    keysFile: need(settings.values, 'keys'),
    tenants: topology.value.tenants.map(({ name }) => name),
  }
}

/** Empty if nobody said it, or if the file that should hold it cannot be read. */
async function ownerPassword(env: NodeJS.ProcessEnv): Promise<string> {
  const said = env['SLUICE_OWNER_PASSWORD']
  if (said !== undefined) return said
  const file = env['SLUICE_OWNER_PASSWORD_FILE']
  return file === undefined ? '' : (await readFile(file, 'utf8').catch(() => '')).trim()
}

/** What was done, or the exit code if the server cannot be reached or does not let us in. */
async function asOwner(
  { url, password, plan }: ProvisionRequest,
  mode: 'apply' | 'check',
): Promise<Provisioned[] | number> {
  let bus: Bus
  try {
    bus = await connectBus({
      url,
      user: 'owner',
      password,
      inboxPrefix: '_INBOX_owner',
      name: 'sluice provision',
    })
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    console.error(`cannot connect to ${url} as owner: ${why}`)
    return connectFailureCode(error)
  }
  try {
    return await provision((subject, body) => bus.request(subject, body), plan, mode)
  } catch (error) {
    if (!(error instanceof BusError)) throw error
    console.error(`the server did not do it: ${error.message}`)
    return exitCodes.failed
  } finally {
    await bus.close()
  }
}

function reportLines({ kind, name, outcome, differences }: Provisioned): string[] {
  return [
    `${outcome.padEnd(10)}${kind.padEnd(10)}${name}`,
    ...differences.map((difference) => `          ${difference}`),
  ]
}
