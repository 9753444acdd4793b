import { type StreamLimits } from './streams.ts'

/** Everything a gateway is told, checked; nothing in here is optional after start-up unless its absence means something. */
export type Config = {
  /** `dev` takes calls without authentication and therefore refuses any address but loopback. */
  profile: 'dev' | 'standard'
  /** This gateway's name on records and metrics. */
  gateway: string
  nats: { url: string; user: string; credential: { password: string } | { nkeySeed: string } }
  http: { host: string; port: number }
  policyFile: string
  topologyFile: string
  keysFile: string
  decisionTimeoutMs: number
  failMode: 'closed' | 'open'
  /** Topic patterns (`job.a.*`) that pass undecided when the fail mode is open. */
  failOpenTopics: string[]
  dispatchTimeoutSec: number
  limits: StreamLimits
  logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'
}
