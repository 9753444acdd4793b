import type { Answer } from '../audit/answer.ts'
import type { JobEvent, Opened } from '../audit/event.ts'
import { jobHash, sha256Hex, shortHash } from '../policy/digest.ts'
import { jobIdFromMessageId, jobIdFromRequest, jobIdFromStored, type JobId } from '../policy/job-id.ts'
import { parseJob, type Job, type Refusal } from '../policy/job.ts'
import { topicProblem } from '../policy/topic.ts'
import { answerKey } from './answers.ts'
import { beforeParking } from './asking.ts'
import { decide, deny } from './decide.ts'
import type { Delivery } from './bus/delivery.ts'
import { answerAgain, isSameJob } from './duplicate.ts'
import { originHeaders } from './headers.ts'
import type { Io } from './io.ts'
import { currentTenantKey } from './config/keys.ts'
import type { Refusals } from './refusals.ts'
import { saltOf } from './salt.ts'
import type { Cause } from './cause.ts'
import { step } from './step.ts'
import { stopOf } from './stops/stopped.ts'
import { parseSubmission, type Submission } from './subjects.ts'

const topicCharsOnRecord = 256

/** Who may speak on the stream that a message came from; undefined for the HTTP stream, whose subjects the gateway wrote. */
export type Owner = { readonly tenant: string; readonly agent: string } | undefined

/** A job arrives: parse, evaluate, step. Everything that is wrong with it is a recorded denial; then it is acknowledged. */
export async function intercept(io: Io, refusals: Refusals, owner: Owner, delivery: Delivery): Promise<void> {
  const submission = parseSubmission(delivery.subject)
  if (submission === undefined || !ownedBy(owner, submission)) {
    io.log.error({ stream: delivery.stream }, 'a message on a foreign subject was dropped')
    return delivery.ack()
  }
  const cause = causeOf(delivery, submission)
  const parsed = parse(submission, delivery.body)
  const opened = openedFrom(io, submission, delivery, cause.job, parsed)
  if (
    !parsed.ok &&
    delivery.deliveries === 1 &&
    !refusals.admit(`${submission.tenant}/${submission.agent}`)
  ) {
    answerFlood(io, opened, cause, parsed.refusal)
    return delivery.ack()
  }
  const done = await step(io, { ...cause, opened }, undefined, async (last) => {
    if (last !== undefined) return { refuse: 'exists' }
    return parsed.ok
      ? decideOn(io, opened, parsed.job, delivery.body)
      : deny(io, parsed.refusal.ruleId, parsed.refusal.reason)
  })
  if (done.type === 'moved') io.metrics.decided(done.at.record.data.decision)
  else if (done.at !== undefined && !done.at.record.data.causes.includes(cause.id)) {
    await again(io, refusals, submission, delivery, cause, done.at.record)
  }
  delivery.ack()
}

/** Beyond the records that one agent may cause, unreadable input is counted and answered, but not written down one by one. */
function answerFlood(io: Io, opened: Opened, cause: Cause, refusal: Refusal): void {
  io.metrics.refused('flood')
  const { decision } = deny(io, refusal.ruleId, `${refusal.reason}; too many such messages: only counted`)
  const { job_id, trace_id, job_hash, actor } = opened
  const answer: Answer = { job_id, trace_id, state: 'DENIED', job_hash, decision, next: 'change_request' }
  io.decisions.say(actor.id, job_id, answer, originHeaders(job_id, 'DENIED', cause.around.origin))
}

type Parsed = { readonly ok: true; readonly job: Job } | { readonly ok: false; readonly refusal: Refusal }

function parse(submission: Submission, body: Uint8Array): Parsed {
  const problem = topicProblem(submission.topic)
  if (problem !== undefined) return { ok: false, refusal: { ruleId: 'sluice.invalid-job', reason: problem } }
  return parseJob(submission, submission.topic, body)
}

async function decideOn(io: Io, opened: Opened, job: Job, body: Uint8Array): Promise<JobEvent> {
  if (job.deadlineMs !== undefined && job.deadlineMs <= io.nowMs())
    return deny(io, 'sluice.expired', "the job's own deadline has passed")
  const stop = await stopOf(io, opened, true)
  if (stop !== undefined) return deny(io, 'sluice.stopped', `${stop.by} stopped this: ${stop.reason}`)
  const event = await decide(io, opened, job)
  return event.event === 'parked' ? beforeParking(io, opened, body, event) : event
}

function ownedBy(owner: Owner, submission: Submission): boolean {
  return owner === undefined || (owner.tenant === submission.tenant && owner.agent === submission.agent)
}

/**
 * The id is a function of the stored message, so that a redelivery finds the same record. A client's message id counts
 * within its agent only; without one, time and sequence name the message even if the stream is made anew.
 */
function causeOf(delivery: Delivery, submission: Submission): Cause {
  const overHttp = delivery.stream === 'JOBS_HTTP'
  const messageId = delivery.header(overHttp ? 'Sluice-Message-Id' : 'Nats-Msg-Id')
  // On this stream only gateways write; on an agent's own the header would be the agent's.
  const requestId = overHttp ? delivery.header('Sluice-Request-Id') : ''
  const job =
    messageId !== ''
      ? jobIdFromMessageId(submission.tenant, submission.agent, messageId)
      : requestId !== ''
        ? jobIdFromRequest(submission.tenant, requestId)
        : jobIdFromStored(submission.tenant, delivery.storedNs, delivery.sequence)
  return {
    job,
    id: shortHash(`${delivery.stream}:${delivery.sequence}:${delivery.storedNs}`),
    around: {
      body: delivery.body,
      origin: {
        stream: delivery.stream,
        sequence: delivery.sequence,
        key: answerKey(delivery.subject, messageId, delivery.body),
      },
    },
  }
}

function openedFrom(
  io: Io,
  submission: Submission,
  delivery: Delivery,
  job_id: JobId,
  parsed: Parsed,
): Opened {
  const { tenant, agent } = submission
  // A refused topic may be 4,000 characters long: the record keeps the beginning, the hash speaks for the whole.
  const topic = parsed.ok ? submission.topic : submission.topic.slice(0, topicCharsOnRecord)
  const hash_key = currentTenantKey(io.keys, tenant).id
  const salt = saltOf(io.keys, { tenant, job_id, hash_key })
  const deadlineMs = parsed.ok ? parsed.job.deadlineMs : undefined
  // On this stream only gateways write; on an agent's own the header would be the agent's.
  const overHttp = delivery.stream === 'JOBS_HTTP'
  const principal = overHttp ? delivery.header('Sluice-Principal') : ''
  return {
    job_id,
    tenant,
    topic,
    trace_id: traceOf(parsed, delivery, job_id),
    actor: { auth: overHttp ? 'http' : 'nats', id: agent, type: 'agent', ...(principal && { principal }) },
    job_hash: jobHash(salt, submission.topic, delivery.body),
    hash_key,
    payload: { bytes: delivery.body.length },
    received_at: new Date(delivery.storedMs).toISOString(),
    ...(deadlineMs === undefined ? {} : { job_deadline: new Date(deadlineMs).toISOString() }),
  }
}

/** The job's own claim, else the caller's trace context, else one made of the job id, so that it is the same on redelivery. */
function traceOf(parsed: Parsed, delivery: Delivery, job: JobId): string {
  const claimed = parsed.ok ? parsed.job.traceId : parsed.refusal.traceId
  if (claimed !== undefined) return claimed
  const context = /^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(delivery.header('traceparent'))
  return context?.[1] ?? sha256Hex(job).slice(0, 32)
}

/** Another message with a known id: the same bytes are answered with the current state, others are refused beside the chain. */
async function again(
  io: Io,
  refusals: Refusals,
  submission: Submission,
  delivery: Delivery,
  cause: Cause,
  record: Parameters<typeof isSameJob>[1],
): Promise<void> {
  if (!isSameJob(io, record, submission.topic, delivery.body)) {
    await refusals.record({
      job: cause.job,
      principal: `${submission.tenant}/${submission.agent}`,
      refuse: 'sluice.idempotency-conflict',
      detail: 'the message id was used before for other bytes',
      cause: cause.id,
    })
  }
  io.decisions.say(submission.agent, cause.job, answerAgain(io, record, submission.topic, delivery.body), {
    ...originHeaders(cause.job, record.data.state.to, cause.around.origin),
    'Sluice-Duplicate': 'true',
  })
}
