import { startGateway } from '../../gateway/gateway.ts'
import type { Bus } from '../../gateway/bus/bus.ts'
import type { Config } from '../../gateway/config/config.ts'

/**
 * One gateway as a process of its own, for tests that kill it. Told by `gateway-process.ts` what to be, in the
 * environment, where a password cannot be seen by other users.
 */
export type GatewayOrder = {
  readonly config: Config
  /** Takes the compare-and-set out of every append: a test of the tests, which must notice. */
  readonly withoutExpect?: boolean
}

const { config, withoutExpect } = JSON.parse(process.env['SLUICE_TEST_GATEWAY'] ?? '') as GatewayOrder

const gateway = await startGateway(config, withoutExpect === true ? { bus: unexpecting } : {})
process.once('SIGTERM', () => void gateway.stop().then(() => process.exit(0)))
// For who measures memory: what nobody refers to any more is gone first.
process.on('SIGUSR2', () => globalThis.gc?.())
console.log('ready')

/** Neither an expected sequence nor a message id: whoever comes last wins as well. */
function unexpecting(bus: Bus): Bus {
  return {
    ...bus,
    append: (subject, body, { headers } = {}) => bus.append(subject, body, { headers }),
  }
}
