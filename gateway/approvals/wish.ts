import type { Constraints } from '../../policy/constraints.ts'
import { parseJson } from '../../policy/json.ts'
import { jobBytesMax } from '../../policy/job.ts'
import { constraints as ruleConstraints } from '../../policy/schema-blocks.ts'
import { unknownKey, type JsonObject } from '../http/body.ts'
import { problemDetails } from '../http/problem.ts'
import { invalidProblem, type ProblemDetails } from '../http/problem-details.ts'

const noteCharsMax = 1_000
const hashCharsMax = 128
/** Every entry is compared with every entry in force, while other jobs wait. */
const listMax = 64
/** How many jobs run at once is counted for a rule; said of one job nobody would enforce it. */
const constraints = ruleConstraints.omit({ max_concurrency: true })

/** What a person says about a job, beside the decision itself. */
export type Said = {
  readonly note: string
  readonly jobHash?: string
  readonly policySnapshot?: string
  /** Limits that the approver adds, in the words of a policy. */
  readonly constraints?: Constraints
}

const saidKeys = ['note', 'reason', 'job_hash', 'policy_snapshot', 'constraints']

/** Reads a decision's body, the same by HTTP and by NATS; a string is what is wrong with it. `If-Match` also names the job hash. */
export function readSaid(body: JsonObject, ifMatch?: string): Said | string {
  const note = readNote(body, saidKeys)
  if (typeof note === 'string') return note
  const binding = bindingIn(body, ifMatch)
  if (typeof binding === 'string') return binding
  const limits = limitsIn(body)
  return typeof limits === 'string' ? limits : { ...note, ...binding, ...limits }
}

/** The note of a decision, under either of its names; empty if there is none. */
export function readNote(body: JsonObject, known = ['note', 'reason']): { readonly note: string } | string {
  const unknown = unknownKey(body, known)
  if (unknown !== undefined) return unknown
  const { note, reason } = body
  if (note !== undefined && reason !== undefined && note !== reason)
    return '"note" and "reason" are two names of one thing: send one of them'
  const text = note === undefined ? (reason ?? '') : note
  if (typeof text !== 'string' || reason === null) return '"note" must be text'
  if (text.length > noteCharsMax) return `"note" has more than ${noteCharsMax} characters`
  return { note: text }
}

export type Asked = { readonly decision: 'approve' | 'reject' | 'claim' } & Said

/** What an approver sends by NATS: the body that HTTP takes, and the decision in it. Else the problem, as HTTP would have it. */
export function parseAsked(bytes: Uint8Array): Asked | ProblemDetails {
  if (bytes.length > jobBytesMax)
    return problemDetails('payload_too_large', `a request has at most ${jobBytesMax} bytes`)
  const parsed = parseJson(bytes)
  if (!parsed.ok) return problemDetails('invalid_json', parsed.problem.message)
  const { value } = parsed
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return invalidProblem('the body must be one JSON object')
  const { decision, ...rest } = value as JsonObject
  if (decision !== 'approve' && decision !== 'reject' && decision !== 'claim')
    return invalidProblem('"decision" must be approve, reject or claim')
  const said = decision === 'claim' ? readNote(rest) : readSaid(rest)
  return typeof said === 'string' ? invalidProblem(said) : { decision, ...said }
}

function limitsIn({ constraints: given }: JsonObject): { readonly constraints?: Constraints } | string {
  if (given === undefined) return {}
  const parsed = constraints.safeParse(given)
  if (parsed.success) {
    const long = Object.entries(parsed.data).find(
      ([, value]) => Array.isArray(value) && value.length > listMax,
    )
    return long === undefined
      ? { constraints: parsed.data as Constraints }
      : `constraints.${long[0]}: must have at most ${listMax} entries`
  }
  const [issue] = parsed.error.issues
  return `${['constraints', ...(issue?.path ?? [])].join('.')}: ${issue?.message ?? 'invalid'}`
}

type Binding = Pick<Said, 'jobHash' | 'policySnapshot'>

/** What the approver saw; a string is what is wrong with it. */
function bindingIn(body: JsonObject, ifMatch: string | undefined): Binding | string {
  const { job_hash, policy_snapshot } = body
  for (const [key, value] of Object.entries({ job_hash, policy_snapshot })) {
    if (value === undefined) continue
    if (typeof value !== 'string' || value === '' || value.length > hashCharsMax)
      return `"${key}" must be text of 1 to ${hashCharsMax} characters`
  }
  const matched =
    ifMatch === undefined || ifMatch.trim() === '*' ? undefined : ifMatch.trim().replace(/^"(.*)"$/, '$1')
  if (matched !== undefined && job_hash !== undefined && matched !== job_hash)
    return 'If-Match and "job_hash" name two different jobs'
  const jobHash = (job_hash as string | undefined) ?? matched
  return {
    ...(jobHash === undefined ? {} : { jobHash }),
    ...(policy_snapshot === undefined ? {} : { policySnapshot: policy_snapshot as string }),
  }
}
