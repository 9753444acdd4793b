import type { State } from '../audit/lifecycle.ts'
import { constraintsHash, sha256Hex } from '../policy/digest.ts'
import type { Decision } from '../policy/evaluate.ts'
import type { JobId } from '../policy/job-id.ts'
import type { Headers } from './bus/message.ts'
import type { Position } from './chain.ts'
import type { Io } from './io.ts'
import { resultToken, saltOf } from './salt.ts'

const reasonCharsMax = 512

/** What the headers say about a decision; most jobs share theirs with others, so it is made once for each. */
type Told = { readonly reason: string; readonly constraints: string; readonly constraintsHash: string }

const told = new WeakMap<Decision, Told>()

function toldOf(decision: Decision): Told {
  const known = told.get(decision)
  if (known !== undefined) return known
  const made = {
    reason: oneLine(decision.reason),
    constraints: JSON.stringify(decision.constraints ?? {}),
    constraintsHash: constraintsHash(decision.constraints),
  }
  told.set(decision, made)
  return made
}

/** What a parked, waiting or dispatched message says about its job; the body is the job's own bytes. */
export function jobHeaders(io: Io, at: Position): Record<string, string> {
  const { data } = at.record
  const { decision } = data
  const { reason, constraints, constraintsHash: hash } = toldOf(decision)
  return {
    'Sluice-Job': data.job_id,
    'Sluice-Topic': data.topic,
    'Sluice-Tenant': data.tenant,
    'Sluice-Actor': data.actor.id,
    'Sluice-Decision': String(at.sequence),
    'Sluice-Rule': decision.rule_id,
    'Sluice-Reason': reason,
    'Sluice-Policy': decision.policy_snapshot,
    'Sluice-Job-Hash': data.job_hash,
    'Sluice-Constraints': constraints,
    'Sluice-Constraints-Hash': hash,
    'Sluice-Job-Salt': saltOf(io.keys, data).toString('hex'),
    traceparent: traceparent(data.trace_id, data.job_id),
  }
}

/** The same for one attempt, with its deadline, the token that its result must echo, and the gate's own signature. */
export async function dispatchHeaders(io: Io, at: Position): Promise<Headers> {
  const { data } = at.record
  const run = data.dispatch
  if (run === undefined) throw new Error(`record ${at.record.id} dispatches nothing`)
  const attempt = String(run.attempt)
  const ticket = io.tickets.sign({
    attempt,
    constraints_hash: toldOf(data.decision).constraintsHash,
    deadline: run.deadline,
    decision: String(at.sequence),
    job: data.job_id,
    job_hash: data.job_hash,
    topic: data.topic,
  })
  const headers: Record<string, string> = jobHeaders(io, at)
  headers['Sluice-Attempt'] = attempt
  headers['Sluice-Deadline'] = run.deadline
  headers['Sluice-Result-Token'] = resultToken(
    io.keys,
    { job: data.job_id, attempt: run.attempt, decisionSequence: at.sequence },
    io.nowMs(),
  )
  headers['Sluice-Ticket'] = await ticket
  return headers
}

/** The stored submission behind a decision, so that the gateway which holds the question can answer it. */
export type Origin = { readonly stream: string; readonly sequence: number; readonly key: string }

/** What a message on `decision.>` says beside its body. */
export function originHeaders(job: JobId, state: State, origin: Origin | undefined): Headers {
  if (origin === undefined) return { 'Sluice-Job': job, 'Sluice-State': state }
  return {
    'Sluice-Job': job,
    'Sluice-State': state,
    'Sluice-Answer-Key': origin.key,
    'Sluice-Stream': origin.stream,
    'Sluice-Sequence': String(origin.sequence),
  }
}

/** W3C Trace Context; a trace id of another form is hashed into one. */
function traceparent(traceId: string, jobId: string): string {
  const trace = /^[0-9a-f]{32}$/.test(traceId) ? traceId : sha256Hex(traceId).slice(0, 32)
  return `00-${trace}-${sha256Hex(jobId).slice(0, 16)}-01`
}

/** Header values end at a line break: whatever a policy's reason contains stays inside its header. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').slice(0, reasonCharsMax)
}
