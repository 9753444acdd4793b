import { base32, sha256 } from './digest.ts'

declare const jobIdBrand: unique symbol

/** `<tenant>.<id>`, the public name of a job and the last tokens of its audit subject. Only the functions below make one. */
export type JobId = string & { readonly [jobIdBrand]: true }

const jobIdShape = /^[a-z0-9][a-z0-9-]{0,31}\.[0-9a-z]{20,40}$/

/** The id of a job whose publisher named the message: the same agent and message id always give the same job. */
export function jobIdFromMessageId(tenant: string, agent: string, messageId: string): JobId {
  return branded(`${tenant}.m${base32(sha256(`${agent}\0${messageId}`), 32)}`)
}

/**
 * The id of a job without a message id, from where and when the stream stored it (nanoseconds and sequence, both in the ack
 * subject), so that a redelivery finds the same record. The sequence alone would collide when a stream is made anew.
 */
export function jobIdFromStored(tenant: string, storedNs: bigint, sequence: bigint | number): JobId {
  return branded(`${tenant}.s${base32(storedNs, 13)}${base32(BigInt(sequence), 13)}`)
}

/** The id of a job whose publisher gave it no name over HTTP: the gateway named the request, so that the id is known before it is stored. */
export function jobIdFromRequest(tenant: string, requestId: string): JobId {
  return branded(`${tenant}.r${base32(sha256(requestId), 32)}`)
}

/** Whether the publisher named the job, and so says himself which submissions are the same. */
export function isNamed(job: JobId): boolean {
  return job.slice(job.indexOf('.') + 1).startsWith('m')
}

/** Text from outside as a job id, or undefined. */
export function parseJobId(text: string): JobId | undefined {
  return jobIdShape.test(text) ? (text as JobId) : undefined
}

function branded(text: string): JobId {
  const id = parseJobId(text)
  if (id === undefined) throw new RangeError('a job id was built from a tenant that is not a valid token')
  return id
}
