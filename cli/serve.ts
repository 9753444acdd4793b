import { access, constants, readFile } from 'node:fs/promises'

import { loadConfig, type Config } from '../gateway/config/config.ts'
import { startGateway, type Gateway } from '../gateway/gateway.ts'
import { readKeys } from '../gateway/config/keys.ts'
import { filesOf } from '../gateway/config/settings.ts'
import { PolicyError } from '../gateway/policies/file.ts'
import { UnsafeServer } from '../gateway/nats/start-check.ts'
import { readCertificate } from '../gateway/http/tls.ts'
import { parseTokens } from '../gateway/http/tokens-file.ts'
import { parseTopology, type Topology } from '../gateway/config/topology.ts'
import { problemText } from '../gateway/config/yaml-file.ts'
import { configSources } from './config-arguments.ts'
import { connectFailureCode, connectFailureText } from './connect-failure.ts'
import { exitCodes } from './exit-codes.ts'
import { servingWords } from './serving-words.ts'

const help = `usage: sluice serve [--config FILE] [--SETTING VALUE ...]

Runs one gateway until SIGTERM or SIGINT; then it finishes what it has in hand and ends. A second signal ends it at
once, which loses nothing either: what was not acknowledged comes again. SIGHUP reads policy, tokens and certificate
again, which also happens by itself when they change. sluice config show lists the settings.

Exit codes: 69 NATS is not there (start again later), 77 NATS does not let us in, 78 the configuration, topology,
keys or policy are wrong.`

/** `sluice serve`. */
export async function run(args: string[]): Promise<number> {
  const read = configSources(args)
  if (!read.ok) {
    console.error(`${read.problem}\n\n${help}`)
    return exitCodes.usage
  }
  if (read.given.flags.has('help')) {
    console.log(help)
    return exitCodes.ok
  }
  const loaded = await loadConfig(read.sources)
  const problems = loaded.ok ? await inputProblems(loaded.config) : loaded.problems
  if (!loaded.ok || problems.length > 0) {
    for (const problem of problems) console.error(problem)
    return exitCodes.badConfiguration
  }
  const asked = stopAsked()
  let gateway: Gateway
  try {
    gateway = await startGateway(loaded.config)
  } catch (error) {
    const ours = error instanceof PolicyError || error instanceof UnsafeServer
    console.error(`sluice serve: ${ours ? error.message : connectFailureText(error, loaded.config.nats)}`)
    return ours ? exitCodes.badConfiguration : connectFailureCode(error)
  }
  for (const { id, what } of gateway.accepted)
    console.error(`sluice serve: NOT SAFE, accepted in writing: ${id}: ${what}`)
  console.error(`${servingWords} ${gateway.httpUrl}`)
  const reload = (): void => void gateway.reload().catch((error: Error) => console.error(error.message))
  process.on('SIGHUP', reload)
  await asked
  process.off('SIGHUP', reload)
  await gateway.stop()
  return exitCodes.ok
}

/** What is wrong with the files that the configuration names; what a policy says is the gateway's own to judge. */
async function inputProblems(config: Config): Promise<string[]> {
  const { policyFile, topologyFile, keysFile, tokensFile, http } = config
  const problems: string[] = []
  for (const file of filesOf(policyFile))
    await access(file, constants.R_OK).catch(() =>
      problems.push(`${file} cannot be read; setting policy says where it is`),
    )
  const text = await readFile(topologyFile, 'utf8').catch(() => undefined)
  if (text === undefined) problems.push(`${topologyFile} cannot be read; setting topology says where it is`)
  else {
    const topology = parseTopology(topologyFile, text)
    if (!topology.ok) problems.push(...topology.problems.map(problemText))
    else if (tokensFile !== undefined) problems.push(...(await tokensProblems(tokensFile, topology.value)))
  }
  if (http.tls !== undefined)
    await readCertificate(http.tls).catch((error: Error) =>
      problems.push(`setting http.tls_*: ${error.message}`),
    )
  await readKeys(keysFile).catch((error: NodeJS.ErrnoException) => {
    const next = error.code === 'ENOENT' ? '; sluice provision --create-keys makes it' : ''
    problems.push(`setting keys: ${error.message}${next}`)
  })
  return problems
}

async function tokensProblems(file: string, topology: Topology): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text === undefined) return [`${file} cannot be read; setting tokens says where it is`]
  const tokens = parseTokens(file, text, topology)
  return tokens.ok ? [] : tokens.problems.map(problemText)
}

/** Resolves at the first signal; the second one ends the process. */
function stopAsked(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        resolve()
        process.once(signal, () => process.exit(exitCodes.failed))
      })
    }
  })
}
