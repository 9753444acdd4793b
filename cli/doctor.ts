import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { connectBus, type BusOptions } from '../gateway/bus/bus.ts'
import { limitsOf, loadConfig, readSettings, type ConfigSources } from '../gateway/config/config.ts'
import { need } from '../gateway/config/settings.ts'
import { confDrift } from '../gateway/nats/conf-drift.ts'
import { confFindings, everybodyLimited } from '../gateway/nats/doctor-conf.ts'
import { lookAtServer } from '../gateway/nats/doctor-look.ts'
import { serverFindings, type Finding, type ServerFacts } from '../gateway/nats/doctor-server.ts'
import { demoNatsConf, natsConf } from '../gateway/nats/conf.ts'
import { readNatsConf, type ConfRead } from '../gateway/nats/conf-read.ts'
import { planStreams, type StreamPlan } from '../gateway/nats/streams.ts'
import { parseTopology, type Topology } from '../gateway/config/topology.ts'
import { problemText } from '../gateway/config/yaml-file.ts'
import { configSources, outputOptions } from './config-arguments.ts'
import { connectFailureCode } from './connect-failure.ts'
import { exitCodes } from './exit-codes.ts'
import { processTerminal, type Terminal } from './terminal.ts'
import { visible } from './visible.ts'

const help = `usage: sluice doctor [--conf nats.conf] [--data-dir DIR] [-o json] [--config FILE] [--topology FILE] [--server URL]

Looks at the server as the gateway sees it, and at its configuration: known advisories, replicated streams, streams that
drifted, clocks, who shares the gateway's account, who may say anything, who could reach worker.>. Changes nothing. Each
finding says what to do; exit code 1 if one is fatal.

--conf FILE     the server's configuration; without it the layout of accounts is not seen
--data-dir DIR  the running sluice dev that keeps its files there; also looked for (SLUICE_DATA_DIR, default .sluice/dev)
                where no setting says what the gateway's credential is`

/** `sluice doctor`. */
export async function run(args: string[], terminal: Terminal = processTerminal()): Promise<number> {
  const read = configSources(args, { conf: 'text', 'data-dir': 'text', ...outputOptions })
  if (!read.ok || read.given.rest.length > 0) {
    terminal.err(`${read.ok ? 'sluice doctor takes options only' : read.problem}\n\n${help}`)
    return exitCodes.usage
  }
  const { text, flags } = read.given
  if (flags.has('help')) {
    terminal.out(help)
    return exitCodes.ok
  }
  const asked = await readQuestion({ ...read.sources, env: terminal.env }, text)
  if (!asked.ok) {
    for (const problem of asked.problems) terminal.err(problem)
    return exitCodes.badConfiguration
  }
  let facts: ServerFacts
  try {
    facts = await look(asked, terminal.nowMs)
  } catch (error) {
    terminal.err(
      `cannot look at ${asked.server.url}: ${error instanceof Error ? error.message : String(error)}`,
    )
    return connectFailureCode(error)
  }
  const findings = [...layout(asked, facts.version), ...serverFindings(facts, limited(asked))].toSorted(
    (a, b) => ranks.indexOf(a.severity) - ranks.indexOf(b.severity),
  )
  const fatal = findings.some(({ severity }) => severity === 'fatal')
  if (read.json) terminal.out(JSON.stringify({ ok: !fatal, server_version: facts.version, findings }))
  else for (const line of lines(findings, facts.version)) terminal.out(line)
  return fatal ? exitCodes.failed : exitCodes.ok
}

const ranks: readonly Finding['severity'][] = ['fatal', 'warning', 'note']

type Question = {
  server: Pick<BusOptions, 'url' | 'user' | 'password' | 'nkeySeed'>
  topology: Topology
  plan: StreamPlan
  conf: Extract<ConfRead, { ok: true }> | undefined
}

async function readQuestion(
  sources: ConfigSources,
  text: Readonly<Record<string, string>>,
): Promise<({ ok: true } & Question) | { ok: false; problems: string[] }> {
  const settings = await readSettings(sources)
  if (!settings.ok) return settings
  const server = await serverOf(sources, text['data-dir'])
  if (!server.ok) return server
  const file = need(settings.values, 'topology')
  const content = await readFile(file, 'utf8').catch(() => undefined)
  if (content === undefined)
    return { ok: false, problems: [`${file} cannot be read; --topology says where it is`] }
  const topology = parseTopology(file, content)
  if (!topology.ok) return { ok: false, problems: topology.problems.map(problemText) }
  const conf = await readConf(text['conf'])
  if (typeof conf === 'string') return { ok: false, problems: [conf] }
  const plan = planStreams(topology.value, limitsOf(settings.values))
  return { ok: true, server: server.value, topology: topology.value, plan, conf }
}

type Server = { ok: true; value: Question['server'] } | { ok: false; problems: string[] }

/** The gateway's server as sluice.yaml says it; where nothing says it, that of a running `sluice dev`. */
async function serverOf(sources: ConfigSources, folder: string | undefined): Promise<Server> {
  if (folder !== undefined) return ofDev(folder)
  const said = await ofSettings(sources)
  if (said.ok) return said
  const dev = await ofDev(sources.env['SLUICE_DATA_DIR'] ?? join('.sluice', 'dev'))
  return dev.ok ? dev : said
}

async function ofSettings(sources: ConfigSources): Promise<Server> {
  const loaded = await loadConfig(sources)
  if (!loaded.ok) return loaded
  const { url, user, credential } = loaded.config.nats
  return { ok: true, value: { url, ...('password' in credential ? { user } : {}), ...credential } }
}

/** `sluice dev` keeps all passwords in one file. */
async function ofDev(folder: string): Promise<Server> {
  const json = async (name: string): Promise<Record<string, unknown>> =>
    JSON.parse(await readFile(join(folder, name), 'utf8').catch(() => '{}')) as Record<string, unknown>
  const { nats_url: url } = await json('ready.json')
  const { gateway: password } = await json('passwords.json')
  if (typeof url !== 'string' || typeof password !== 'string')
    return { ok: false, problems: [`no sluice dev runs in ${folder}`] }
  return { ok: true, value: { url, user: 'gateway', password } }
}

/** The configuration, undefined if none is named, or why it cannot be read. */
async function readConf(file: string | undefined): Promise<Question['conf'] | string> {
  if (file === undefined) return undefined
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text === undefined) return `${file} cannot be read`
  const read = readNatsConf(text)
  return read.ok ? read : `${file}:${read.line}: ${read.message}`
}

async function look({ server, plan }: Question, nowMs: () => number): Promise<ServerFacts> {
  const bus = await connectBus({ ...server, inboxPrefix: '_INBOX_gateway', name: 'sluice doctor' })
  try {
    return await lookAtServer(bus, plan, nowMs)
  } finally {
    await bus.close()
  }
}

function limited({ conf }: Question): boolean {
  return conf !== undefined && everybodyLimited(conf.value)
}

function layout({ conf, topology }: Question, version: string): Finding[] {
  if (conf === undefined)
    return [
      {
        id: 'layout-unseen',
        severity: 'warning',
        what: 'who may say what on this server was not looked at',
        todo: 'name its configuration with --conf, and try it out with sluice nats verify',
      },
    ]
  const wanted = readNatsConf(natsConf(topology, demoNatsConf))
  if (!wanted.ok) throw new Error(`our own nats.conf, line ${wanted.line}: ${wanted.message}`)
  return [...confFindings(conf.value, version), ...confDrift(conf.value, wanted.value)]
}

function lines(findings: readonly Finding[], version: string): string[] {
  const shown = findings.flatMap(({ id, severity, what, todo }) => [
    visible(`${severity.padEnd(8)} ${id}: ${what}`),
    visible(`         ${todo}`),
  ])
  const count = ranks.map((rank) => `${findings.filter(({ severity }) => severity === rank).length} ${rank}`)
  return [`nats-server ${version}`, ...shown, count.join(', ')]
}
