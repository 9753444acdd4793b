import type { State } from '../audit/lifecycle.ts'
import type { AuditRecord } from '../audit/record.ts'
import { jobHash } from '../policy/digest.ts'
import type { JobId } from '../policy/job-id.ts'
import type { Position } from './chain.ts'
import type { Io } from './io.ts'
import type { Stored } from './bus/message.ts'
import { saltOf } from './salt.ts'
import { dispatchSubject, pendingSubject, throttledSubject } from './subjects.ts'

/** Where a job's bytes stand while it waits. */
export type WaitingStream = 'APPROVALS' | 'THROTTLED'
export type WaitingCopy = { readonly stream: WaitingStream; readonly sequence: number }

/** The job's bytes: the one copy that its state before this record kept. Never from AUDIT. */
export async function bodyOf(io: Io, record: AuditRecord): Promise<Uint8Array | 'altered' | undefined> {
  const { data } = record
  const stored = await copyOf(io, record)
  if (stored === undefined) return undefined
  return jobHash(saltOf(io.keys, data), data.topic, stored.body) === data.job_hash ? stored.body : 'altered'
}

function copyOf(io: Io, record: AuditRecord): Promise<{ body: Uint8Array; sequence: number } | undefined> {
  const { state, dispatch: run, topic, job_id } = record.data
  const waited = waitingIn(state.from)
  if (waited !== undefined) return io.bus.last(waited, waitingSubject(waited, job_id))
  if (run === undefined || run.attempt < 2) return Promise.resolve(undefined)
  return io.bus.last('WORK', dispatchSubject(run.pool, topic, job_id, run.attempt - 1))
}

/**
 * Removes the waiting copy of the state this record left, and the one that was its cause, after the next copy is
 * acknowledged.
 */
export function removeCopy(
  io: Io,
  at: Position,
  copy?: WaitingCopy,
  keptIn?: WaitingStream,
): Promise<undefined> | undefined {
  // Most jobs never wait, and have left no copy.
  if (copy === undefined && at.record.data.state.from === 'RECEIVED') return undefined
  return removeCopies(io, at, copy, keptIn)
}

async function removeCopies(
  io: Io,
  at: Position,
  copy: WaitingCopy | undefined,
  keptIn: WaitingStream | undefined,
): Promise<undefined> {
  if (copy !== undefined && copy.stream !== keptIn) await io.bus.remove(copy.stream, copy.sequence)
  const { state, terminal, dispatch: run } = at.record.data
  // A job that ends on its first attempt may never have been dispatched: then its bytes still stand where it waited.
  if (state.from === 'DISPATCHED' && terminal !== undefined && run?.attempt === 1)
    await removeLeftCopies(io, at)
  const left = waitingIn(state.from)
  if (left !== undefined && left !== keptIn && left !== copy?.stream) await removeOlder(io, at, left)
  return undefined
}

/**
 * For a cause that was acted on before: whoever did may have died between the next copy and the removal of the last. False:
 * the newest record is not carried on yet, and what stands there stays, because nobody else has the bytes.
 */
export async function removeLeftCopies(io: Io, at: Position): Promise<boolean> {
  if (!(await isCarriedOn(io, at))) return false
  const now = waitingIn(at.record.data.state.to)
  if (now !== 'APPROVALS') await removeOlder(io, at, 'APPROVALS')
  if (now !== 'THROTTLED') await removeOlder(io, at, 'THROTTLED')
  return true
}

async function isCarriedOn(io: Io, at: Position): Promise<boolean> {
  const { event, state, dispatch: run, topic, job_id } = at.record.data
  const waiting = waitingIn(state.to)
  if (waiting !== undefined) {
    const copy = await io.bus.last(waiting, waitingSubject(waiting, job_id))
    // A vote or a reminder needs no copy of its own.
    const needsOwn = event === 'parked' || event === 'throttled'
    return copy !== undefined && (!needsOwn || madeFor(copy) >= at.sequence)
  }
  if (state.to !== 'DISPATCHED' || run === undefined) return true
  return (await io.bus.last('WORK', dispatchSubject(run.pool, topic, job_id, run.attempt))) !== undefined
}

/** Never a copy that was made for a newer record than the one we know: the job may wait again by now. */
async function removeOlder(io: Io, at: Position, stream: WaitingStream): Promise<void> {
  const copy = await io.bus.last(stream, waitingSubject(stream, at.record.data.job_id))
  if (copy !== undefined && madeFor(copy) <= at.sequence) await io.bus.remove(stream, copy.sequence)
}

function waitingSubject(stream: WaitingStream, job: JobId): string {
  return stream === 'APPROVALS' ? pendingSubject(job) : throttledSubject(job)
}

function waitingIn(state: State): WaitingStream | undefined {
  if (state === 'PARKED') return 'APPROVALS'
  return state === 'THROTTLED' ? 'THROTTLED' : undefined
}

/** The audit sequence of the record that a copy was made for. */
export const madeFor = (copy: Stored): number => Number(copy.header('Sluice-Decision'))
