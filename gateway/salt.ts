import { createHmac, timingSafeEqual } from 'node:crypto'
import type { JobId } from '../policy/job-id.ts'
import { jobSalt } from '../policy/digest.ts'
import { keyInUse, type Keys } from './config/keys.ts'

const salts = new WeakMap<Keys, Map<string, Buffer>>()
const saltsMax = 4_096

/** The job's salt, made again from the key that its records name; throws once that key is erased. */
export function saltOf(
  keys: Keys,
  job: { readonly tenant: string; readonly job_id: JobId; readonly hash_key: string },
): Buffer {
  const key = keys.tenantKeys.get(job.tenant)?.find(({ id }) => id === job.hash_key)
  if (key === undefined) throw new Error(`the hash key ${job.hash_key} of tenant ${job.tenant} is gone`)
  // A job needs its salt several times within a few milliseconds, and then never again.
  const made = salts.get(keys) ?? new Map<string, Buffer>()
  salts.set(keys, made)
  const name = `${job.hash_key} ${job.job_id}`
  const known = made.get(name)
  if (known !== undefined) return known
  if (made.size >= saltsMax) made.clear()
  const salt = jobSalt(key.key, job.job_id)
  made.set(name, salt)
  return salt
}

/** The dispatch that a result token is for. */
export type TokenFor = { readonly job: JobId; readonly attempt: number; readonly decisionSequence: number }

/** Proves that a result comes from somebody who got this very dispatch. Derived, so that a redelivery makes the same one. */
export function resultToken(keys: Keys, dispatched: TokenFor, nowMs: number): string {
  return tokenUnder(keyInUse(keys.resultKeys, nowMs), dispatched)
}

/** Whether the token was made for this dispatch, under whichever key was in use then. Compares in constant time. */
export function isResultToken(keys: Keys, dispatched: TokenFor, given: string): boolean {
  const a = Buffer.from(given)
  return keys.resultKeys.some(({ key }) => {
    const b = Buffer.from(tokenUnder(key, dispatched))
    return a.length === b.length && timingSafeEqual(a, b)
  })
}

function tokenUnder(key: Buffer, { job, attempt, decisionSequence }: TokenFor): string {
  return createHmac('sha256', key).update(`${job}\0${attempt}\0${decisionSequence}`).digest('hex')
}

/** What the records say about an output without saying what it is. */
export function outputHash(salt: Buffer, output: Uint8Array): string {
  return createHmac('sha256', salt).update('output\0').update(output).digest('hex')
}
