import type { State } from '../audit/lifecycle.ts'
import { constraintsHash, sha256Hex } from '../policy/digest.ts'
import type { JobId } from '../policy/job-id.ts'
import type { Headers } from './message.ts'
import type { Position } from './chain.ts'
import type { Io } from './io.ts'
import { resultToken, saltOf } from './salt.ts'

const reasonCharsMax = 512

/** What a parked, waiting or dispatched message says about its job; the body is the job's own bytes. */
export function jobHeaders(io: Io, at: Position): Headers {
  const { data } = at.record
  const { decision } = data
  return {
    'Sluice-Job': data.job_id,
    'Sluice-Topic': data.topic,
    'Sluice-Tenant': data.tenant,
    'Sluice-Actor': data.actor.id,
    'Sluice-Decision': String(at.sequence),
    'Sluice-Rule': decision.rule_id,
    'Sluice-Reason': oneLine(decision.reason),
    'Sluice-Policy': decision.policy_snapshot,
    'Sluice-Job-Hash': data.job_hash,
    'Sluice-Constraints': JSON.stringify(decision.constraints ?? {}),
    'Sluice-Constraints-Hash': constraintsHash(decision.constraints),
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
  return {
    ...jobHeaders(io, at),
    'Sluice-Attempt': attempt,
    'Sluice-Deadline': run.deadline,
    'Sluice-Result-Token': resultToken(
      io.keys,
      { job: data.job_id, attempt: run.attempt, decisionSequence: at.sequence },
      io.nowMs(),
    ),
    'Sluice-Ticket': await io.tickets.sign({
      job: data.job_id,
      topic: data.topic,
      attempt,
      decision: String(at.sequence),
      job_hash: data.job_hash,
      constraints_hash: constraintsHash(data.decision.constraints),
      deadline: run.deadline,
    }),
  }
}

/** The stored submission behind a decision, so that the gateway which holds the question can answer it. */
export type Origin = { readonly stream: string; readonly sequence: number; readonly key: string }

/** What a message on `decision.>` says beside its body. */
export function originHeaders(job: JobId, state: State, origin: Origin | undefined): Headers {
  const headers = { 'Sluice-Job': job, 'Sluice-State': state }
  if (origin === undefined) return headers
  return {
    ...headers,
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
