import { resolve } from 'node:path'

import { z } from 'zod'

import { patternProblem } from '../../policy/topic.ts'
import { defaultLimits } from '../nats/streams.ts'

const File = z.string().min(1)
const Pattern = z.string().superRefine((pattern, context) => {
  const problem = patternProblem(pattern)
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
})
const Count = z.int().min(1)
const Bytes = z.int().min(1024)
const HostName = z
  .string()
  .regex(/^[A-Za-z0-9.-]{1,253}$|^\[[0-9A-Fa-f:.]+\]$/, 'must be a host name without a port')
const Origin = z
  .string()
  .refine((text) => URL.canParse(text) && new URL(text).origin === text, 'must be like https://gate.example')

/**
 * Every setting of a gateway: its key in sluice.yaml (dots are nesting), its shape, and its default in `defaults`.
 * Flag and environment variable follow from the key: `http.port` is `--http-port` and `SLUICE_HTTP_PORT`.
 */
export const settingShapes = {
  profile: z.enum(['dev', 'standard']),
  gateway: z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'must be 1 to 32 of a-z, 0-9 and -'),
  'nats.url': z.string().regex(/^(nats|tls):\/\/\S+$/, 'must be like nats://127.0.0.1:4222'),
  'nats.user': z.string().min(1),
  'nats.password': z.string().min(1),
  'nats.password_file': File,
  'nats.nkey_seed': z.string().min(1),
  'nats.nkey_seed_file': File,
  'http.host': z.string().min(1),
  'http.port': z.int().min(0).max(65_535),
  'http.hosts': z.array(HostName),
  'http.origins': z.array(Origin),
  'http.rate_per_s': z.int().min(1).max(100_000),
  'http.tls_cert_file': File,
  'http.tls_key_file': File,
  'http.insecure': z.boolean(),
  tokens: File,
  policy: File,
  topology: File,
  keys: File,
  decision_timeout_ms: z.int().min(1).max(60_000),
  fail_mode: z.enum(['closed', 'open']),
  fail_open_topics: z.array(Pattern),
  dispatch_timeout_sec: z.int().min(1).max(3600),
  'approvals.require_binding': z.boolean(),
  'approvals.denial_cache_sec': z.int().min(0).max(3600),
  // QUARANTINE keeps what was held back for 30 days; the wait must end before it is gone.
  quarantine_expires_sec: z
    .int()
    .min(1)
    .max(29 * 86_400),
  accept_findings: z.array(z.string().regex(/^[A-Za-z0-9_:.-]+$/, 'must be the id of a finding')),
  log_level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
  'limits.replicas': z.int().min(1).max(5),
  'limits.intake_jobs_max': Count,
  'limits.intake_bytes_max': Bytes,
  'limits.commands_max': Count,
  'limits.audit_bytes_max': Bytes,
  'limits.work_bytes_max': Bytes,
  'limits.approvals_pending_max': Count,
  'limits.approvals_per_tenant_max': Count,
  'limits.approvals_per_agent_max': Count,
  'limits.throttled_max': Count,
  'limits.waiting_bytes_max': Bytes,
  'limits.results_bytes_max': Bytes,
  'limits.output_bytes_max': Bytes,
  'limits.quarantine_bytes_max': Bytes,
} satisfies Record<string, z.ZodType>

export type SettingKey = keyof typeof settingShapes
export type Setting<Key extends SettingKey> = z.infer<(typeof settingShapes)[Key]>

export type SettingValues = { [Key in SettingKey]?: Setting<Key> }

/** A setting that has a default, so that its absence is a mistake of ours. */
export function need<Key extends SettingKey>(
  values: SettingValues,
  key: Key,
): NonNullable<SettingValues[Key]> {
  const value = values[key]
  if (value === undefined || value === null)
    throw new Error(`the setting ${key} has neither a value nor a default`)
  return value
}

/** Every key, in the order in which they are shown. */
export const settingKeys = Object.keys(settingShapes) as SettingKey[]

/** Values that are never shown. */
export const secretKeys: ReadonlySet<SettingKey> = new Set(['nats.password', 'nats.nkey_seed'])

/** Values that name a file: relative to sluice.yaml, if there is one; what a flag or a variable says, to the working directory. */
const fileKeys: ReadonlySet<SettingKey> = new Set([
  'nats.password_file',
  'nats.nkey_seed_file',
  'http.tls_cert_file',
  'http.tls_key_file',
  'tokens',
  'policy',
  'topology',
  'keys',
])

/** What holds where nobody says anything. The credential, the tokens and the certificate have no default. */
export const defaults: { [Key in SettingKey]?: Setting<Key> } = {
  profile: 'standard',
  gateway: 'gateway-1',
  'nats.url': 'nats://127.0.0.1:4222',
  'nats.user': 'gateway',
  'http.host': '127.0.0.1',
  'http.port': 8081,
  'http.hosts': [],
  'http.origins': [],
  'http.rate_per_s': 50,
  'http.insecure': false,
  policy: 'policy.yaml',
  topology: 'topology.yaml',
  keys: 'keys.json',
  decision_timeout_ms: 2000,
  fail_mode: 'closed',
  fail_open_topics: [],
  dispatch_timeout_sec: 300,
  'approvals.denial_cache_sec': 60,
  quarantine_expires_sec: 7 * 86_400,
  accept_findings: [],
  log_level: 'info',
  'limits.replicas': defaultLimits.replicas,
  'limits.intake_jobs_max': defaultLimits.intakeJobsMax,
  'limits.intake_bytes_max': defaultLimits.intakeBytesMax,
  'limits.commands_max': defaultLimits.commandsMax,
  'limits.audit_bytes_max': defaultLimits.auditBytesMax,
  'limits.work_bytes_max': defaultLimits.workBytesMax,
  'limits.approvals_pending_max': defaultLimits.approvalsPendingMax,
  'limits.approvals_per_tenant_max': 50_000,
  'limits.approvals_per_agent_max': 20_000,
  'limits.throttled_max': defaultLimits.throttledMax,
  'limits.waiting_bytes_max': defaultLimits.waitingBytesMax,
  'limits.results_bytes_max': defaultLimits.resultsBytesMax,
  'limits.output_bytes_max': defaultLimits.outputBytesMax,
  'limits.quarantine_bytes_max': defaultLimits.quarantineBytesMax,
}

/** What depends on the profile. */
export const profileDefaults: Record<Setting<'profile'>, { [Key in SettingKey]?: Setting<Key> }> = {
  // The shortest call there is resolves by hand, and stands on record as such.
  dev: { 'approvals.require_binding': false },
  standard: { 'approvals.require_binding': true },
}

/** What natscli calls what we have, too: its flag and its variable. */
const natscli: { readonly [Key in SettingKey]?: { readonly flag: string; readonly variable: string } } = {
  'nats.url': { flag: 'server', variable: 'NATS_URL' },
  'nats.user': { flag: 'user', variable: 'NATS_USER' },
  'nats.password': { flag: 'password', variable: 'NATS_PASSWORD' },
  'nats.nkey_seed_file': { flag: 'nkey', variable: 'NATS_NKEY' },
}

/** The flags that set a key, the first wins: ours (`http.port` -> `http-port`), then the one that natscli has for it. */
export function flagsOf(key: SettingKey): string[] {
  const other = natscli[key]
  return [key.replaceAll(/[._]/g, '-'), ...(other === undefined ? [] : [other.flag])]
}

/** The variables that set a key, the first wins: ours, then the one that natscli has for it. */
export function variablesOf(key: SettingKey): string[] {
  const other = natscli[key]
  const own = `SLUICE_${key.replaceAll('.', '_').toUpperCase()}`
  return [own, ...(other === undefined ? [] : [other.variable])]
}

/** sluice.yaml as a schema: the keys nested at their dots, all of them optional. */
export const fileSchema: z.ZodType<Record<string, unknown>> = (() => {
  const root: Record<string, z.ZodType> = {}
  const groups = new Map<string, Record<string, z.ZodType>>()
  for (const key of settingKeys) {
    const [group, name] = key.split('.') as [string, string | undefined]
    if (name === undefined) root[key] = settingShapes[key].optional()
    else groups.set(group, { ...groups.get(group), [name]: settingShapes[key].optional() })
  }
  for (const [group, shape] of groups) root[group] = z.strictObject(shape).optional()
  return z.strictObject(root)
})()

/** A flag's or a variable's text as the value that its shape asks for; lists are separated by commas. */
export function fromText(key: SettingKey, text: string): unknown {
  const kind = settingShapes[key].def.type
  if (kind === 'number') return /^-?\d+$/.test(text) ? Number(text) : text
  if (kind === 'boolean') return text === 'true' ? true : text === 'false' ? false : text
  if (kind === 'array') return text === '' ? [] : text.split(',').map((part) => part.trim())
  return text
}

/** The value of a setting that was said in a folder: files that are not absolute begin there. */
export function fromFolder(folder: string, key: SettingKey, value: unknown): unknown {
  if (!fileKeys.has(key)) return value
  const files = key === 'policy' ? filesOf(String(value)) : [String(value)]
  return files.map((file) => resolve(folder, file)).join(',')
}

/** The files of a policy, which is named by all of them: `base.yaml,acme.yaml`. */
export function filesOf(policy: string): readonly string[] {
  return policy.split(',').map((file) => file.trim())
}
