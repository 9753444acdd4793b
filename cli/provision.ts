import { readFile } from 'node:fs/promises'

import { connectBus, type Bus } from '../gateway/bus.ts'
import { BusError } from '../gateway/message.ts'
import { limitsOf, need, readSettings, type ConfigSources } from '../gateway/config.ts'
import { provision, type Provisioned } from '../gateway/provision.ts'
import { planStreams, type StreamPlan } from '../gateway/streams.ts'
import { parseTopology } from '../gateway/topology.ts'
import { problemText } from '../gateway/yaml-file.ts'
import { configSources } from './config-arguments.ts'
import { connectFailureCode } from './connect-failure.ts'
import { exitCodes } from './exit-codes.ts'

const help = `usage: sluice provision [--check] [-o json] [--config FILE] [--topology FILE] [--nats-url URL]

Makes the streams and consumers that the topology and the limits ask for, as the owner of the streams: user owner,
password in SLUICE_OWNER_PASSWORD or in the file named by SLUICE_OWNER_PASSWORD_FILE. The running gateway has no such
user; nats.conf says where its line goes while this runs. Safe to repeat. Never deletes a stream, and never lowers a
bound below what a stream holds.

--check   only look; exit code 1 if anything differs`

/** `sluice provision`. */
export async function run(args: string[]): Promise<number> {
  const read = configSources(
    args.map((arg) => (arg === '-o' ? '--output' : arg)),
    { check: 'flag', output: 'text' },
  )
  if (!read.ok) {
    console.error(`${read.problem}\n\n${help}`)
    return exitCodes.usage
  }
  if (read.given.flags.has('help')) {
    console.log(help)
    return exitCodes.ok
  }
  const request = await readRequest(read.sources)
  if (!request.ok) {
    for (const problem of request.problems) console.error(problem)
    return exitCodes.badConfiguration
  }
  const done = await asOwner(request, read.given.flags.has('check') ? 'check' : 'apply')
  if (typeof done === 'number') return done
  if (read.given.text['output'] === 'json') console.log(JSON.stringify(done, null, 2))
  else for (const line of done.flatMap(reportLines)) console.log(line)
  return done.some(({ outcome }) => outcome === 'drifted') ? exitCodes.failed : exitCodes.ok
}

type ProvisionRequest = { url: string; password: string; plan: StreamPlan }

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
  const passwordFile = sources.env['SLUICE_OWNER_PASSWORD_FILE']
  const password =
    sources.env['SLUICE_OWNER_PASSWORD'] ??
    (passwordFile === undefined ? undefined : await readFile(passwordFile, 'utf8'))?.trim()
  if (password === undefined || password === '') {
    return {
      ok: false,
      problems: [
        'the password of user owner is missing: set SLUICE_OWNER_PASSWORD or SLUICE_OWNER_PASSWORD_FILE',
      ],
    }
  }
  const plan = planStreams(topology.value, limitsOf(settings.values))
  return { ok: true, url: need(settings.values, 'nats.url'), password, plan }
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
