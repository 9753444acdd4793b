import { z } from 'zod'
import type { Constraints } from '../policy/constraints.ts'
import type { JobId } from '../policy/job-id.ts'
import { parseJson } from '../policy/json.ts'
import { constraints } from '../policy/schema-blocks.ts'

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

export const noteCharsMax = 1_000

const asked = z.strictObject({
  decision: z.enum(['approve', 'reject', 'claim']),
  note: z.string().max(noteCharsMax).default(''),
  job_hash: z.string().max(128).optional(),
  policy_snapshot: z.string().max(128).optional(),
  constraints: constraints.optional(),
})

export type Asked = Omit<z.infer<typeof asked>, 'constraints'> & {
  readonly constraints?: Constraints | undefined
}

/** What an approver sends: `{decision, note, job_hash, policy_snapshot, constraints}`; a string is what is wrong with it. */
export function parseAsked(body: Uint8Array): Asked | string {
  // As strictly as a job: a note that cannot stand on record would be a command that can never be carried out.
  const read = parseJson(body)
  if (!read.ok)
    return `a resolution is a JSON object {decision, note, job_hash, policy_snapshot}: ${read.problem.message}`
  const parsed = asked.safeParse(read.value)
  if (parsed.success) return parsed.data as Asked
  const issue = parsed.error.issues[0]
  return `${issue?.path.join('.') || 'resolution'}: ${issue?.message ?? 'invalid'}`
}

export function encodeCommand(command: Command): string {
  return JSON.stringify(command)
}

/** What `encodeCommand` wrote; only gateways can write to the stream. */
export function decodeCommand(body: Uint8Array): Command {
  return JSON.parse(Buffer.from(body).toString()) as Command
}
