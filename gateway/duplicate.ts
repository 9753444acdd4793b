import { answerFrom, type Answer } from '../audit/answer.ts'
import type { AuditRecord } from '../audit/record.ts'
import { jobHash } from '../policy/digest.ts'
import { builtinDecision } from '../policy/evaluate.ts'
import type { Io } from './io.ts'
import { saltOf } from './salt.ts'

/** Whether these bytes are the job on record; a message id is an idempotency key, and a key stands for one content. */
export function isSameJob(io: Io, record: AuditRecord, topic: string, body: Uint8Array): boolean {
  const { data } = record
  return data.topic === topic && jobHash(saltOf(io.keys, data), topic, body) === data.job_hash
}

/** The answer to a submission whose job exists: its current state, or a refusal if the bytes are others. */
export function answerAgain(io: Io, record: AuditRecord, topic: string, body: Uint8Array): Answer {
  const answer = answerFrom(record, io.nowMs())
  if (isSameJob(io, record, topic, body)) return answer
  return { ...answer, state: 'DENIED', decision: conflictDecision(io), next: 'change_request' }
}

/** Why a reused message id is refused. */
export function conflictDecision(io: Io): Answer['decision'] {
  return builtinDecision(
    'DENY',
    'sluice.idempotency-conflict',
    'this message id was used before for other bytes: nothing was run for these; use a new id',
    io.policy().snapshot,
  )
}
