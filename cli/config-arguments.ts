import { flagOf, settingKeys } from '../gateway/config/settings.ts'
import { type ConfigSources } from '../gateway/config/config.ts'
import { readArguments, type Arguments, type OptionKinds } from './arguments.ts'

/** Every setting as an option, as the commands that read sluice.yaml take them. */
export const settingOptions: OptionKinds = {
  config: 'text',
  help: 'flag',
  ...Object.fromEntries(settingKeys.map((key) => [flagOf(key), 'text'] as const)),
}

/** The three sources of settings for a command line that may hold setting options and `more` of its own. */
export function configSources(
  args: readonly string[],
  more: OptionKinds = {},
): { ok: true; sources: ConfigSources; given: Arguments & { ok: true } } | { ok: false; problem: string } {
  const given = readArguments(args, { ...settingOptions, ...more })
  if (!given.ok) return given
  return { ok: true, sources: { flags: given.text, env: process.env, cwd: process.cwd() }, given }
}
