import { shortHash } from '../policy/digest.ts'
import type { JobId } from '../policy/job-id.ts'
import type { Position } from './chain.ts'
import { approvalDue, dueName, nextDueMs } from './approvals/due.ts'
import type { WaitingCopy, WaitingStream } from './copies.ts'
import type { Delivery } from './bus/delivery.ts'
import { attemptDue, quarantineDue, throttleDue, type Due } from './dues.ts'
import { createHeap } from './heap.ts'
import type { Io } from './io.ts'
import { pull, type Pull } from './bus/pull.ts'
import { carryOn, step, type Proposal } from './step.ts'
import { gatewayConsumer } from './nats/streams.ts'
import { startSweep } from './sweep.ts'
import { trailingJob } from './subjects.ts'

/**
 * Time passes: a waiting message is its own timer. What is due soon is held here; the rest goes back to the server with a
 * delay, in bursts: every single delayed nak puts off all the others of its consumer, so under a steady stream of
 * them none would ever come back.
 */
export type Timers = { ended(job: string): void; held(): number; stop(): Promise<void> }

type Waiting = {
  readonly delivery: Delivery
  readonly job: JobId
  readonly dueMs: number
  /** When this gateway looks at it next: when it is due, or when it must go back before `ack_wait` runs out. */
  readonly atMs: number
  /** The job was looked at once and still ran: from then on it is only held. */
  readonly asked: boolean
  done: boolean
}

/** The ways in which a message that is not done with stays a timer. */
type Onward = {
  readonly sendBack: (delivery: Delivery, delayMs: number) => void
  readonly hold: (kind: HeldKind, delivery: Delivery, job: JobId, dueMs: number, asked: boolean) => void
}

/** Held for a part of the consumer's `ack_wait`, with room for a slow server; else the same message would come twice. */
const holdShare = 2 / 3
/** A message sent back returns by this part of the hold before its time, so that it fires on time from here. */
const earlyShare = 1 / 4
const burstEveryMs = 250
const lookEveryMs = 25
const firingMax = 256
const heldMax = 300_000
const retryMs = 1_000
const leftMs = 500
/** A copy that was left behind is looked at again after this; a removed one does not come. */
const leftAgainMs = 60_000

type Kind = {
  readonly stream: WaitingStream | 'WORK' | 'QUARANTINE'
  readonly dueHeader: string
  /** How many tokens stand behind the job in the subject. */
  readonly skip: number
  readonly propose: (io: Io, due: Due, last: Position) => Proposal | Promise<Proposal>
}

/** Every kind with how long its messages may be held here, and how early those come back that were sent back. */
type HeldKind = Kind & { readonly holdMs: number; readonly earlyMs: number }

const kinds: readonly Kind[] = [
  {
    stream: 'APPROVALS',
    dueHeader: 'Sluice-Expires',
    skip: 0,
    propose: approvalDue,
  },
  { stream: 'THROTTLED', dueHeader: 'Sluice-Not-Before', skip: 0, propose: throttleDue },
  { stream: 'WORK', dueHeader: 'Sluice-Deadline', skip: 1, propose: attemptDue },
  { stream: 'QUARANTINE', dueHeader: 'Sluice-Expires', skip: 0, propose: quarantineDue },
]

export async function startTimers(io: Io): Promise<Timers> {
  const heldKinds = await Promise.all(kinds.map((kind) => withHold(io, kind)))
  const held = createHeap<Waiting>((waiting) => waiting.atMs)
  const running = new Map<string, Waiting>()
  const back: { delivery: Delivery; delayMs: number }[] = []
  let firing = 0
  let stopped = false

  const sendBack = (delivery: Delivery, delayMs: number): void =>
    void back.push({ delivery, delayMs: Math.ceil(delayMs) })
  const hold: Onward['hold'] = (kind, delivery, job, dueMs, asked) => {
    const waiting = {
      delivery,
      job,
      dueMs,
      atMs: Math.min(dueMs, io.nowMs() + kind.holdMs),
      asked,
      done: false,
    }
    held.push(waiting)
    if (kind.stream === 'WORK') running.set(job, waiting)
  }
  const fire = async (kind: HeldKind, waiting: Waiting): Promise<void> => {
    firing++
    try {
      await fireOne(io, kind, waiting, { sendBack, hold })
    } catch (err) {
      io.log.warn(
        { jobId: waiting.job, stream: kind.stream, err },
        'a due time could not be carried out, again soon',
      )
      sendBack(waiting.delivery, retryMs)
    } finally {
      firing--
    }
  }
  const take = (kind: HeldKind, delivery: Delivery): void => {
    if (stopped) return delivery.nak(leftMs)
    const job = trailingJob(delivery.subject, kind.skip)
    const dueMs = job === undefined ? Number.NaN : dueOf(io, kind, job, delivery)
    if (job === undefined || Number.isNaN(dueMs)) {
      io.log.error(
        { stream: kind.stream, sequence: delivery.sequence },
        'a waiting message without job or due time',
      )
      return delivery.ack()
    }
    delivery.forget()
    const nowMs = io.nowMs()
    // Most dispatched jobs end within seconds: holding them first saves sending them back at all.
    if (kind.stream !== 'WORK' && dueMs - nowMs > kind.holdMs)
      return sendBack(delivery, dueMs - nowMs - kind.earlyMs)
    hold(kind, delivery, job, dueMs, false)
  }
  const look = setInterval(() => {
    const nowMs = io.nowMs()
    while (firing < firingMax && (held.peek()?.atMs ?? Infinity) <= nowMs) {
      const waiting = held.pop() as Waiting
      if (waiting.done) continue
      if (running.get(waiting.job) === waiting) running.delete(waiting.job)
      const kind = heldKinds.find(({ stream }) => stream === waiting.delivery.stream) as HeldKind
      void fire(kind, waiting) // Catches everything itself.
    }
  }, lookEveryMs)
  const burst = setInterval(() => {
    if (!io.bus.connected()) return
    for (const { delivery, delayMs } of back.splice(0)) delivery.nak(delayMs)
  }, burstEveryMs)
  const pulls: Pull[] = heldKinds.map((kind) =>
    pull(io.bus, {
      stream: kind.stream,
      consumer: gatewayConsumer,
      inFlightMax: 1_024,
      open: () => held.size() < heldMax,
      onError: (err) => io.log.error({ stream: kind.stream, err }, 'a waiting message could not be taken'),
      // Taken, not handled: it stays unacknowledged until its time has come or its job has moved on.
      handle: (delivery) => Promise.resolve(take(kind, delivery)),
    }),
  )
  const sweep = startSweep(io)
  return {
    ended: (job) => {
      const waiting = running.get(job)
      if (waiting === undefined) return
      running.delete(job)
      waiting.done = true
      waiting.delivery.ack()
    },
    held: () => held.size(),
    stop: async () => {
      stopped = true
      clearInterval(look)
      clearInterval(burst)
      sweep.stop()
      await Promise.all(pulls.map((one) => one.stop()))
      // What is held goes back, so that another gateway need not wait for `ack_wait`; a moment later, because the server
      // would give it to this one again, which is still connected.
      for (let waiting = held.pop(); waiting !== undefined; waiting = held.pop())
        if (!waiting.done) waiting.delivery.nak(leftMs)
    },
  }
}

/** Decoding two dozen headers of every dispatch is dear; the gateway that dispatched remembers when it is due. */
function dueOf(io: Io, kind: Kind, job: JobId, delivery: Delivery): number {
  const run = kind.stream === 'WORK' ? io.chain.remembered(job)?.record.data.dispatch : undefined
  if (run !== undefined && delivery.subject.endsWith(`.${run.attempt}`)) return Date.parse(run.deadline)
  // What must happen to an approval before it expires; copies from before there was such a thing do not have it.
  return Date.parse(delivery.header('Sluice-Due') || delivery.header(kind.dueHeader))
}

async function withHold(io: Io, kind: Kind): Promise<HeldKind> {
  const info = await io.bus.request(`$JS.API.CONSUMER.INFO.${kind.stream}.${gatewayConsumer}`)
  const { ack_wait } = info['config'] as { readonly ack_wait: number }
  const holdMs = (ack_wait / 1_000_000) * holdShare
  return { ...kind, holdMs, earlyMs: holdMs * earlyShare }
}

/** What has moved on is acknowledged without a record; what is not due stays a timer; the rest takes its step. */
async function fireOne(io: Io, kind: HeldKind, waiting: Waiting, onward: Onward): Promise<void> {
  const { sendBack } = onward
  const { delivery, job, dueMs } = waiting
  const nowMs = io.nowMs()
  if (dueMs > nowMs && kind.stream !== 'WORK')
    return sendBack(delivery, Math.max(1, dueMs - nowMs - kind.earlyMs))
  if (dueMs > nowMs) {
    // Another gateway may have ended the job. If not, it runs for long: keeping its timer in hand costs the server
    // far less than a delayed message.
    const ended = !waiting.asked && (await io.chain.last(job))?.record.data.terminal !== undefined
    if (ended) return delivery.ack()
    delivery.working()
    return onward.hold(kind, delivery, job, dueMs, true)
  }
  const last = io.chain.remembered(job) ?? (await io.chain.last(job))
  if (last === undefined) return delivery.ack()
  const copy = waitingCopy(kind, delivery)
  const due = kind.stream === 'APPROVALS' ? dueName(last.record.data) : dueMs
  const cause = {
    job,
    id: shortHash(`${kind.stream}:${delivery.sequence}:${due}`),
    around: copy === undefined ? {} : { copy },
  }
  const done = await step(io, cause, last, (at) =>
    at === undefined ? { refuse: 'gone' } : kind.propose(io, delivery, at),
  )
  const waits = kind.stream === 'APPROVALS' && done.at?.record.data.state.to === 'PARKED'
  if (done.type === 'moved' && !waits) return delivery.ack()
  if (done.type === 'refused' && done.refuse === 'not-yet')
    return waits
      ? later(io, kind, waiting, nowMs + Number(done.detail), onward)
      : sendBack(delivery, Number(done.detail))
  // Whoever acted on this due time before may have died before the copy was removed.
  if (done.type === 'repeated' && copy !== undefined) {
    const there = await io.bus.last(kind.stream, delivery.subject)
    if (there?.sequence !== delivery.sequence) return delivery.ack()
  }
  // Somebody was reminded of it: the same copy is the timer of what comes next.
  if (waits && done.type !== 'refused')
    return later(io, kind, waiting, nextDueMs(io, done.at.record.data), onward)
  return movedOn(io, kind, waiting, done.at ?? last, sendBack)
}

/** Held here if it is due soon, else sent back for so long. */
function later(io: Io, kind: HeldKind, waiting: Waiting, untilMs: number, { sendBack, hold }: Onward): void {
  const remainingMs = Math.max(1, untilMs - io.nowMs())
  if (remainingMs > kind.holdMs) return sendBack(waiting.delivery, remainingMs - kind.earlyMs)
  waiting.delivery.working()
  hold(kind, waiting.delivery, waiting.job, untilMs, waiting.asked)
}

/** The job's own bytes, which go with it. What was dispatched, and what was kept back, stays where it is. */
function waitingCopy({ stream }: Kind, { sequence }: Delivery): WaitingCopy | undefined {
  return stream === 'WORK' || stream === 'QUARANTINE' ? undefined : { stream, sequence }
}

/** A copy of a job that has ended nobody needs any more. If the job went on, whoever wrote that down may have died since. */
async function movedOn(
  io: Io,
  kind: Kind,
  waiting: Waiting,
  last: Position,
  sendBack: (delivery: Delivery, delayMs: number) => void,
): Promise<void> {
  if (waitingCopy(kind, waiting.delivery) === undefined) return waiting.delivery.ack()
  if (last.record.data.terminal === undefined) {
    await carryOn(io, last)
    return sendBack(waiting.delivery, leftAgainMs)
  }
  await io.bus.remove(kind.stream, waiting.delivery.sequence)
  waiting.delivery.ack()
}
