import { readSettings } from '../gateway/config/config.ts'
import { configSources, outputOptions } from './config-arguments.ts'
import { exitCodes } from './exit-codes.ts'

const help = `usage: sluice config show [-o json] [--config FILE] [--SETTING VALUE ...]

Shows every setting of a gateway and where its value comes from: a flag, a variable, a line of sluice.yaml, or the
default. Secrets are shown as (set).`

/** `sluice config show`. */
export async function run(args: string[]): Promise<number> {
  const read = configSources(args, outputOptions)
  if (!read.ok || (read.given.rest[0] !== 'show' && !read.given.flags.has('help'))) {
    console.error(`${read.ok ? 'say: sluice config show' : read.problem}\n\n${help}`)
    return exitCodes.usage
  }
  if (read.given.flags.has('help')) {
    console.log(help)
    return exitCodes.ok
  }
  const settings = await readSettings(read.sources)
  if (!settings.ok) {
    for (const problem of settings.problems) console.error(problem)
    return exitCodes.badConfiguration
  }
  if (read.json) console.log(JSON.stringify(settings.shown))
  else {
    const rows = settings.shown.map(({ key, value, origin }) => [key, shown(value), origin] as const)
    const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
    for (const [key, value, origin] of rows) {
      console.log(`${key.padEnd(widths[0] ?? 0)}  ${value.padEnd(widths[1] ?? 0)}  ${origin}`)
    }
  }
  return exitCodes.ok
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
