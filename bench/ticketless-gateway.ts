import { argv } from 'node:process'

import { configSources } from '../cli/config-arguments.ts'
import { loadConfig } from '../gateway/config/config.ts'
import { startGateway } from '../gateway/gateway.ts'

/**
 * The gateway as `sluice serve` runs it, but its tickets are empty: what a signature and a way through a tree cost is the difference.
 * No setting does this, because workers refuse what has no ticket.
 */
const read = configSources(argv.slice(2))
if (!read.ok) throw new Error(read.problem)
const loaded = await loadConfig(read.sources)
if (!loaded.ok) throw new Error(loaded.problems.join('\n'))
const gateway = await startGateway(loaded.config, {
  tickets: (tickets) => ({ ...tickets, sign: () => Promise.resolve('') }),
})
process.once('SIGTERM', () => void gateway.stop().then(() => process.exit(0)))
