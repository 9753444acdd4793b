import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'

import {
  defaults,
  fileSchema,
  flagsOf,
  fromFolder,
  fromText,
  need,
  profileDefaults,
  secretKeys,
  settingKeys,
  settingShapes,
  variablesOf,
  type Setting,
  type SettingKey,
  type SettingValues,
} from './settings.ts'
import { type StreamLimits } from '../nats/streams.ts'
import { contradictionsIn, credentialKeys } from './contradictions.ts'
import { checkYaml, problemText } from './yaml-file.ts'

/** Everything a gateway is told, checked; nothing in here is optional after start-up. */
export type Config = {
  /** `dev` takes calls without authentication and therefore refuses any address but loopback. */
  profile: 'dev' | 'standard'
  /** This gateway's name on records and metrics. */
  gateway: string
  nats: { url: string; user: string; credential: { password: string } | { nkeySeed: string } }
  http: {
    host: string
    port: number
    /** Names that a Host header may have beside the loopback names and `host`. */
    hosts: string[]
    /** Web origins whose pages may call. */
    origins: string[]
    /** Requests a second of one principal. */
    ratePerSec: number
    tls: { certFile: string; keyFile: string } | undefined
    /** Tokens may cross the network in clear, because somebody wrote so. */
    insecure: boolean
  }
  /** Who may call over HTTP; undefined: nobody, only the health routes are open. */
  tokensFile: string | undefined
  /** One file, or several with commas between them. */
  policyFile: string
  topologyFile: string
  keysFile: string
  decisionTimeoutMs: number
  failMode: 'closed' | 'open'
  /** Topic patterns (`job.a.*`) that pass undecided when the fail mode is open. */
  failOpenTopics: string[]
  dispatchTimeoutSec: number
  /** Fatal findings about the server with which the gateway starts all the same. */
  acceptFindings: string[]
  /** How long a person may look at an output that was kept back. */
  quarantineExpiresSec: number
  limits: StreamLimits
  approvals: ApprovalSettings
  logLevel: Setting<'log_level'>
}

export type ApprovalSettings = {
  /** A resolution without a job hash is refused. */
  requireBinding: boolean
  /** For so long after a rejection the same request is denied without asking again; 0 asks every time. */
  denialCacheSec: number
  /** How many jobs of one tenant, and of one agent, may wait for a person. */
  perTenantMax: number
  perAgentMax: number
}

/** Where the answers are looked for: flags by their name without dashes, then the environment, then a file. */
export type ConfigSources = {
  flags: Readonly<Record<string, string>>
  env: NodeJS.ProcessEnv
  cwd: string
}

/** One value and who said so; `value` is `(set)` for what must not be shown. */
export type ShownSetting = { key: SettingKey; value: unknown; origin: string }

export type Settings =
  | { ok: true; values: SettingValues; shown: ShownSetting[] }
  | { ok: false; problems: string[] }

const hidden = '(set)'
const defaultFile = 'sluice.yaml'

/** Reads all settings: flag before environment before sluice.yaml before default. Unknown keys are problems. */
export async function readSettings(sources: ConfigSources): Promise<Settings> {
  const file = await readSettingsFile(sources)
  if (!file.ok) return file
  const problems: string[] = []
  const values: Record<string, unknown> = {}
  const shown: ShownSetting[] = []
  for (const [key, found] of effective(sources, file.found)) {
    const parsed = settingShapes[key].safeParse(found.value)
    if (!parsed.success) {
      problems.push(`${found.origin}: ${key} ${parsed.error.issues[0]?.message ?? 'is not valid'}`)
      continue
    }
    const value = fromFolder(found.base, key, parsed.data)
    values[key] = value
    shown.push({ key, value: secretKeys.has(key) ? hidden : value, origin: found.origin })
  }
  if (problems.length > 0) return { ok: false, problems }
  const checked = values as SettingValues
  const contradictions = contradictionsIn(checked)
  return contradictions.length > 0
    ? { ok: false, problems: contradictions }
    : { ok: true, values: checked, shown }
}

/** The settings as a gateway takes them, secrets read from their files. */
export async function loadConfig(
  sources: ConfigSources,
): Promise<{ ok: true; config: Config } | { ok: false; problems: string[] }> {
  const settings = await readSettings(sources)
  if (!settings.ok) return settings
  const { values } = settings
  const credential = await readCredential(values)
  if (!credential.ok) return { ok: false, problems: [credential.problem] }
  return {
    ok: true,
    config: {
      profile: need(values, 'profile'),
      gateway: need(values, 'gateway'),
      nats: { url: need(values, 'nats.url'), user: need(values, 'nats.user'), credential: credential.value },
      http: httpOf(values),
      tokensFile: values.tokens,
      policyFile: need(values, 'policy'),
      topologyFile: need(values, 'topology'),
      keysFile: need(values, 'keys'),
      decisionTimeoutMs: need(values, 'decision_timeout_ms'),
      failMode: need(values, 'fail_mode'),
      failOpenTopics: need(values, 'fail_open_topics'),
      dispatchTimeoutSec: need(values, 'dispatch_timeout_sec'),
      acceptFindings: need(values, 'accept_findings'),
      quarantineExpiresSec: need(values, 'quarantine_expires_sec'),
      limits: limitsOf(values),
      approvals: approvalsOf(values),
      logLevel: need(values, 'log_level'),
    },
  }
}

function httpOf(values: SettingValues): Config['http'] {
  const certFile = values['http.tls_cert_file']
  const keyFile = values['http.tls_key_file']
  return {
    host: need(values, 'http.host'),
    port: need(values, 'http.port'),
    hosts: need(values, 'http.hosts'),
    origins: need(values, 'http.origins'),
    ratePerSec: need(values, 'http.rate_per_s'),
    tls: certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile },
    insecure: need(values, 'http.insecure'),
  }
}

/** The bounds of the streams, which `sluice provision` needs without the rest. */
export function limitsOf(values: SettingValues): StreamLimits {
  return {
    replicas: need(values, 'limits.replicas'),
    intakeJobsMax: need(values, 'limits.intake_jobs_max'),
    intakeBytesMax: need(values, 'limits.intake_bytes_max'),
    commandsMax: need(values, 'limits.commands_max'),
    auditBytesMax: need(values, 'limits.audit_bytes_max'),
    workBytesMax: need(values, 'limits.work_bytes_max'),
    approvalsPendingMax: need(values, 'limits.approvals_pending_max'),
    throttledMax: need(values, 'limits.throttled_max'),
    waitingBytesMax: need(values, 'limits.waiting_bytes_max'),
    resultsBytesMax: need(values, 'limits.results_bytes_max'),
    outputBytesMax: need(values, 'limits.output_bytes_max'),
    quarantineBytesMax: need(values, 'limits.quarantine_bytes_max'),
  }
}

function approvalsOf(values: SettingValues): ApprovalSettings {
  return {
    requireBinding: need(values, 'approvals.require_binding'),
    denialCacheSec: need(values, 'approvals.denial_cache_sec'),
    perTenantMax: need(values, 'limits.approvals_per_tenant_max'),
    perAgentMax: need(values, 'limits.approvals_per_agent_max'),
  }
}

/** `rank` orders the sources: 0 flag, 1 environment, 2 file, 3 default. */
type Found = { value: unknown; origin: string; base: string; rank: number }
type FileSettings = {
  file: string
  value: Record<string, unknown>
  lineOf: (path: readonly PropertyKey[]) => number
}

async function readSettingsFile(
  sources: ConfigSources,
): Promise<{ ok: true; found: FileSettings | undefined } | { ok: false; problems: string[] }> {
  const named = sources.flags['config'] ?? sources.env['SLUICE_CONFIG']
  const file = resolve(sources.cwd, named ?? defaultFile)
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    // Nobody asked for a file, and there is none.
    if (named === undefined && (error as NodeJS.ErrnoException).code === 'ENOENT')
      return { ok: true, found: undefined }
    return { ok: false, problems: [`${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`] }
  }
  const checked = checkYaml(named ?? defaultFile, text, fileSchema)
  if (!checked.ok) return { ok: false, problems: checked.problems.map(problemText) }
  return { ok: true, found: { file, value: checked.value, lineOf: checked.lineOf } }
}

/** What was found for each key. Of the ways to give the credential, only those said at the highest rank count. */
function effective(sources: ConfigSources, file: FileSettings | undefined): Map<SettingKey, Found> {
  const all = new Map<SettingKey, Found>()
  // What a file leaves unsaid is meant as if it stood in it: beside the file, wherever the command was started.
  const base = file === undefined ? sources.cwd : dirname(file.file)
  for (const key of settingKeys) {
    const profile = all.get('profile')?.value === 'dev' ? 'dev' : 'standard'
    const found = foundSetting(key, sources, file) ?? defaultSetting(key, profile, base)
    if (found !== undefined) all.set(key, found)
  }
  const rank = Math.min(...credentialKeys.map((key) => all.get(key)?.rank ?? Infinity))
  for (const key of credentialKeys) if ((all.get(key)?.rank ?? rank) > rank) all.delete(key)
  return all
}

function foundSetting(
  key: SettingKey,
  sources: ConfigSources,
  file: FileSettings | undefined,
): Found | undefined {
  const base = sources.cwd
  for (const flag of flagsOf(key)) {
    const text = sources.flags[flag]
    if (text !== undefined) return { value: fromText(key, text), origin: `--${flag}`, base, rank: 0 }
  }
  for (const variable of variablesOf(key)) {
    const text = sources.env[variable]
    if (text !== undefined) return { value: fromText(key, text), origin: variable, base, rank: 1 }
  }
  const path = key.split('.')
  const inFile = path.reduce<unknown>(
    (at, part) => (at as Record<string, unknown> | undefined)?.[part],
    file?.value,
  )
  if (file !== undefined && inFile !== undefined) {
    return { value: inFile, origin: `${file.file}:${file.lineOf(path)}`, base: dirname(file.file), rank: 2 }
  }
  return undefined
}

function defaultSetting(key: SettingKey, profile: Config['profile'], base: string): Found | undefined {
  const value = profileDefaults[profile][key]
  if (value !== undefined) return { value, origin: `default of profile ${profile}`, base, rank: 3 }
  return defaults[key] === undefined ? undefined : { value: defaults[key], origin: 'default', base, rank: 3 }
}

type Credential = Config['nats']['credential']

async function readCredential(
  values: SettingValues,
): Promise<{ ok: true; value: Credential } | { ok: false; problem: string }> {
  const password = values['nats.password']
  if (password !== undefined) return { ok: true, value: { password } }
  const nkeySeed = values['nats.nkey_seed']
  if (nkeySeed !== undefined) return { ok: true, value: { nkeySeed } }
  const passwordFile = values['nats.password_file']
  const seedFile = values['nats.nkey_seed_file']
  const file = passwordFile ?? seedFile
  if (file === undefined)
    return {
      ok: false,
      problem: `no credential for NATS: set one of ${credentialKeys.map((key) => variablesOf(key)[0]).join(', ')}, or its like in sluice.yaml (see sluice config show)`,
    }
  try {
    const text = (await readFile(file, 'utf8')).trim()
    if (text === '') return { ok: false, problem: `${file} is empty` }
    return { ok: true, value: passwordFile === undefined ? { nkeySeed: text } : { password: text } }
  } catch (error) {
    return { ok: false, problem: `${file} cannot be read: ${(error as NodeJS.ErrnoException).code}` }
  }
}
