import type { Policy } from '../policy/load.ts'
import type { evaluate } from '../policy/evaluate.ts'
import type { Bus } from './bus/bus.ts'
import type { Chain } from './chain.ts'
import type { Control } from './stops/control.ts'
import type { Config } from './config/config.ts'
import type { Decisions } from './decisions.ts'
import type { Keys } from './config/keys.ts'
import type { Limiter } from './limiter.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { Pending } from './approvals/pending.ts'
import type { Policies } from './policies/policies.ts'
import type { Running } from './running.ts'
import type { Shadow } from './policies/shadow.ts'
import type { Tickets } from './tickets.ts'
import type { Topology } from './config/topology.ts'

/** Everything a gateway acts with; complete after start-up, nothing in it is optional. */
export type Io = {
  readonly bus: Bus
  readonly chain: Chain
  readonly limiter: Limiter
  readonly running: Running
  readonly pending: Pending
  readonly decisions: Decisions
  readonly control: Control
  readonly config: Config
  readonly topology: Topology
  /** As the key file has them now. */
  readonly keys: Keys
  readonly tickets: Tickets
  readonly log: Log
  readonly metrics: Metrics
  /** The policy in force; swapped whole, so a job keeps the one it started with. */
  readonly policy: () => Policy
  readonly policies: Policies
  readonly shadow: Shadow
  readonly evaluate: typeof evaluate
  /** Milliseconds since the epoch; the only clock the gateway reads for what it records. */
  nowMs(): number
  /** Called for every record that ends a job here, so that whoever waits for it stops waiting. */
  ended(jobId: string): void
}
