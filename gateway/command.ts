import type { Constraints } from '../policy/constraints.ts'
import type { JobId } from '../policy/job-id.ts'

type Wish = {
  readonly job: JobId
  readonly by: string
  readonly via: 'http' | 'nats'
  readonly note: string
  readonly at: string
}

export type ResolveCommand = Wish & {
  readonly type: 'resolve'
  readonly decision: 'approve' | 'reject'
  readonly jobHash?: string | undefined
  readonly policySnapshot?: string | undefined
  readonly constraints?: Constraints | undefined
}

/** A person's wish, stored in COMMANDS before it is acted on. */
export type Command = ResolveCommand | (Wish & { readonly type: 'cancel' | 'claim' })

export function encodeCommand(command: Command): string {
  return JSON.stringify(command)
}

/** What `encodeCommand` wrote; only gateways can write to the stream. */
export function decodeCommand(body: Uint8Array): Command {
  return JSON.parse(Buffer.from(body).toString()) as Command
}
