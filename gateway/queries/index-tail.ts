import { setTimeout as sleep } from 'node:timers/promises'
import { BusError } from '../bus/message.ts'
import type { Position } from '../chain.ts'
import { createAuditIndex, recordRow, rowOf, type AuditIndex, type Row } from './index-audit.ts'
import { openReader } from './index-read.ts'
import type { Io } from '../io.ts'

/** Follows AUDIT and keeps the index of it, without a consumer and without holding up anything else. */
export type Tail = {
  index(): AuditIndex
  /** Resolves true when all is indexed that AUDIT held at the time of asking, false if that took longer than `withinMs`. */
  reach(withinMs: number): Promise<boolean>
  /** Resolves at the next message about a job, or after `withinMs`. */
  changed(job: string, withinMs: number): Promise<void>
  /** What this gateway wrote itself need not be read. */
  appended(at: Position): void
  /** False while the index is made for the first time. */
  caughtUp(): boolean
  /** Messages known to be in AUDIT that are not indexed yet. */
  behind(): number
  close(): void
}

const pollEveryMs = 250
const pollWatchedEveryMs = 100
const chunkMax = 1_000
/** Without anybody waiting, the index works at most a quarter of the time: jobs come first. */
const restPerWork = 3
const ownRowsMax = 50_000

type End = { readonly first: number; readonly last: number; readonly created: string }
type Waiter = { readonly asked: End; readonly resolve: (reached: boolean) => void }

/** Starts at the stream's first message and never stops until it is closed. */
export function openTail(io: Pick<Io, 'bus' | 'log' | 'pending'>): Tail {
  const reader = openReader(io.bus, 'AUDIT')
  const waiters = new Set<Waiter>()
  const watched = new Map<string, Set<() => void>>()
  const own = new Map<number, Row>()
  let index = createAuditIndex(1)
  let position = 0
  let end: End | undefined
  let complete = false
  let closed = false
  let wake: (() => void) | undefined

  const reached = (asked: End): boolean => end?.created === asked.created && position >= asked.last
  const settle = (): void => {
    for (const waiter of waiters) {
      if (!reached(waiter.asked)) continue
      waiters.delete(waiter)
      waiter.resolve(true)
    }
  }
  const apply = (sequence: number, row: Row): void => {
    own.delete(sequence)
    if (sequence <= position) return // Appended here while it was being read.
    index.add(sequence, row)
    if (row.type === 'record') io.pending.note(row.waiting)
    position = sequence
    const watchers = row.type === 'other' ? undefined : watched.get(row.job)
    if (watchers !== undefined) for (const tell of watchers) tell()
  }
  const applyOwn = (): void => {
    for (let row = own.get(position + 1); row !== undefined; row = own.get(position + 1))
      apply(position + 1, row)
  }
  const look = async (): Promise<number> => {
    const now = await endOf(io)
    if (end === undefined || end.created !== now.created || now.last < end.last) {
      if (end !== undefined) io.log.warn('AUDIT is another stream than before: the index is made anew')
      const first = Math.max(1, now.first)
      index = createAuditIndex(first)
      position = first - 1
    }
    end = now
    return now.last
  }
  /** Returns false at a gap. */
  const readOn = async (target: number): Promise<boolean> => {
    applyOwn()
    let to = Math.min(target, position + chunkMax)
    for (let known = position + 1; known <= to; known++) if (own.has(known)) to = known - 1
    const next = await reader.read(position + 1, to, (sequence, body) => apply(sequence, rowOf(body)))
    // A replica may be behind its leader; only what the leader does not have either is a gap.
    if (next <= to) apply(next, await rowOfLeader(io, next))
    settle()
    return next > to
  }
  const catchUp = async (): Promise<void> => {
    let last = await look()
    while (position < last && !closed) {
      const startedMs = performance.now()
      if (!(await readOn(last))) last = await look()
      if (waiters.size === 0) await sleep((performance.now() - startedMs) * restPerWork)
    }
    complete = true
    settle()
  }
  const rest = (): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, watched.size > 0 ? pollWatchedEveryMs : pollEveryMs)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  const follow = async (): Promise<void> => {
    while (!closed) {
      try {
        await catchUp()
        if (waiters.size === 0) await rest()
      } catch (err) {
        if (!closed) io.log.warn({ err }, 'the index of AUDIT waits for the bus')
        await rest()
      }
    }
  }
  void follow() // Catches everything itself.

  return {
    index: () => index,
    reach: async (withinMs) => {
      const asked = await endOf(io)
      if (reached(asked)) return true
      return new Promise((resolve) => {
        const waiter: Waiter = { asked, resolve }
        waiters.add(waiter)
        setTimeout(() => waiters.delete(waiter) && resolve(false), withinMs).unref()
        wake?.()
      })
    },
    changed: (job, withinMs) =>
      new Promise((resolve) => {
        const watchers = watched.get(job) ?? new Set()
        watched.set(job, watchers)
        const done = (): void => {
          clearTimeout(timer)
          watchers.delete(done)
          if (watchers.size === 0) watched.delete(job)
          resolve()
        }
        const timer = setTimeout(done, withinMs)
        watchers.add(done)
      }),
    appended: ({ sequence, record }) => {
      if (sequence <= position || own.size >= ownRowsMax) return
      own.set(sequence, recordRow(record.data))
      if (sequence === position + 1) {
        applyOwn()
        settle()
      }
    },
    caughtUp: () => complete,
    behind: () => Math.max(0, (end?.last ?? 0) - position),
    close: () => {
      closed = true
      for (const waiter of waiters) waiter.resolve(false)
      waiters.clear()
      for (const watchers of watched.values()) for (const tell of [...watchers]) tell()
      wake?.()
    },
  }
}

async function endOf(io: Pick<Io, 'bus'>): Promise<End> {
  const info = await io.bus.request('$JS.API.STREAM.INFO.AUDIT')
  const state = info['state'] as { first_seq: number; last_seq: number }
  return { first: state.first_seq, last: state.last_seq, created: String(info['created']) }
}

async function rowOfLeader(io: Pick<Io, 'bus' | 'log'>, sequence: number): Promise<Row> {
  try {
    const answer = await io.bus.request('$JS.API.STREAM.MSG.GET.AUDIT', { seq: sequence })
    const { data } = answer['message'] as { data?: string }
    return rowOf(Buffer.from(data ?? '', 'base64'))
  } catch (err) {
    if (!(err instanceof BusError) || err.code !== noMessage) throw err
    io.log.warn({ sequence }, 'a record is missing in AUDIT')
    return { type: 'other' }
  }
}

/** "No message found", in the server's own codes. */
const noMessage = 10_037
