import { flagsOf, settingKeys } from '../gateway/config/settings.ts'
import { type ConfigSources } from '../gateway/config/config.ts'
import { readArguments, type Arguments, type OptionKinds } from './arguments.ts'

/** Every setting as an option, as the commands that read sluice.yaml take them. */
const settingOptions: OptionKinds = {
  config: 'text',
  help: 'flag',
  ...Object.fromEntries(settingKeys.flatMap(flagsOf).map((flag) => [flag, 'text'] as const)),
}

/** Of commands that report something: as text, or as JSON for programs. */
export const outputOptions = { output: 'text', json: 'flag' } as const

type ConfigArguments = {
  ok: true
  sources: ConfigSources
  given: Arguments & { ok: true }
  /** Whether the report is wanted as JSON. */
  json: boolean
}

/** The three sources of settings for a command line that may hold setting options and `more` of its own. */
export function configSources(
  args: readonly string[],
  more: OptionKinds = {},
): ConfigArguments | { ok: false; problem: string } {
  const given = readArguments(args, { ...settingOptions, ...more })
  if (!given.ok) return given
  const output = given.flags.has('json') ? 'json' : (given.text['output'] ?? 'text')
  if (output !== 'json' && output !== 'text') return { ok: false, problem: '-o is text or json' }
  const sources = { flags: given.text, env: process.env, cwd: process.cwd() }
  return { ok: true, sources, given, json: output === 'json' }
}
