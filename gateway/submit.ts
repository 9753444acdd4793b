import { randomUUID } from 'node:crypto'
import type { Answer } from '../audit/answer.ts'
import { jobIdFromMessageId, jobIdFromRequest, type JobId } from '../policy/job-id.ts'
import { answerAgain } from './duplicate.ts'
import type { Heard } from './bus/message.ts'
import type { Io } from './io.ts'
import { httpSubject } from './subjects.ts'

/** What became of a submission over HTTP; `unavailable` means that it may or may not be stored: retry with the same key. */
export type Submitted =
  | { readonly type: 'answered'; readonly answer: Answer; readonly duplicate: boolean }
  | { readonly type: 'unavailable'; readonly detail: string }

/** Whose job it is; `principal` is the one whose token submits it, where there is a token. */
export type Submitter = { readonly tenant: string; readonly agent: string; readonly principal?: string }

type Listener = (said: Heard) => void
const listeners = new WeakMap<Io, Map<JobId, Set<Listener>>>()

/** Hears every decision once for all HTTP callers of this gateway. */
function listenersOf(io: Io): Map<JobId, Set<Listener>> {
  const known = listeners.get(io)
  if (known !== undefined) return known
  const fresh = new Map<JobId, Set<Listener>>()
  listeners.set(io, fresh)
  io.decisions.hear((said) => {
    if (fresh.size === 0) return
    const waiting = fresh.get(said.header('Sluice-Job') as JobId)
    if (waiting !== undefined) for (const listener of waiting) listener(said)
  })
  return fresh
}

/**
 * Stores the job as a cause like any other, acknowledged, and waits for whichever gateway decides it. Without a key of the
 * caller's the gateway makes one, so that the job id is known before anything is sent.
 */
export async function submit(
  io: Io,
  caller: Submitter,
  topic: string,
  body: Uint8Array,
  messageId?: string,
  traceparent: string = '',
): Promise<Submitted> {
  const requestId = randomUUID()
  const job =
    messageId === undefined
      ? jobIdFromRequest(caller.tenant, requestId)
      : jobIdFromMessageId(caller.tenant, caller.agent, messageId)
  const name =
    messageId === undefined ? { 'Sluice-Request-Id': requestId } : { 'Sluice-Message-Id': messageId }
  const decided = nextDecision(io, job)
  try {
    const appended = await io.bus.append(httpSubject(caller.tenant, caller.agent, topic), body, {
      headers: {
        ...name,
        ...(traceparent === '' ? {} : { traceparent }),
        ...(caller.principal === undefined ? {} : { 'Sluice-Principal': caller.principal }),
      },
    })
    if (appended.type !== 'stored')
      return { type: 'unavailable', detail: 'the intake is full: nothing was stored, try again later' }
    const heard = await decided.message
    if (heard !== undefined) {
      const answer = JSON.parse(Buffer.from(heard.body).toString()) as Answer
      return { type: 'answered', answer, duplicate: heard.header('Sluice-Duplicate') === 'true' }
    }
    const last = await io.chain.last(job)
    if (last === undefined)
      return {
        type: 'unavailable',
        detail: 'stored but not decided in time: retry with the same Idempotency-Key',
      }
    return { type: 'answered', answer: answerAgain(io, last.record, topic, body), duplicate: false }
  } catch (error) {
    io.log.warn({ jobId: job, err: error }, 'a submission could not be stored')
    return { type: 'unavailable', detail: 'the bus does not answer: retry with the same Idempotency-Key' }
  } finally {
    decided.cancel()
  }
}

/** Resolves with the first decision heard on a job, or with nothing when the time for deciding is over. */
function nextDecision(io: Io, job: JobId): { readonly message: Promise<Heard | undefined>; cancel(): void } {
  const all = listenersOf(io)
  const waiting = all.get(job) ?? new Set<Listener>()
  all.set(job, waiting)
  let stop: () => void = () => undefined
  const message = new Promise<Heard | undefined>((resolve) => {
    const timer = setTimeout(resolve, io.config.decisionTimeoutMs, undefined)
    const listener: Listener = (heard) => heard.header('Sluice-Answer-Key') !== '' && resolve(heard)
    waiting.add(listener)
    stop = () => {
      clearTimeout(timer)
      waiting.delete(listener)
      if (waiting.size === 0) all.delete(job)
      resolve(undefined)
    }
  })
  return { message, cancel: () => stop() }
}
