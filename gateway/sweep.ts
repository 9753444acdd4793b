import { setTimeout as sleep } from 'node:timers/promises'
import type { WaitingStream } from './copies.ts'
import type { Io } from './io.ts'
import {
  commandsStream,
  gatewayConsumer,
  httpIntakeStream,
  intakeStream,
  resultsStream,
} from './nats/streams.ts'
import { hasFix, remembersRemovals } from './nats/server-version.ts'
import { carryOn } from './step.ts'
import { trailingJob } from './subjects.ts'
import { placedAgents } from './config/topology.ts'

/** Looks through what a server may have brought back, after every (re)connect. */
export type Sweep = { stop(): void }

const waitingStreams: readonly WaitingStream[] = ['APPROVALS', 'THROTTLED']
const againAfterMs = 5_000
/** Ten minutes: what a queue that is always busy brought back stays until the next connect. */
const roundsMax = 120
const acksAtOnce = 2_000

/**
 * A server that was killed may bring back messages that were removed: 2.9 keeps removals in memory until it writes its
 * index. Nobody would ever get them again; they would fill their streams, and keep the bytes of jobs that have long ended.
 * And a gateway that died may have left a job between its record and what that record says. A few reads for each waiting
 * job, one at a time, behind everything else.
 */
export function startSweep(io: Io): Sweep {
  let running = true
  let asked = 0
  const sweep = async (): Promise<void> => {
    const mine = ++asked
    const current = (): boolean => running && mine === asked
    let queues = hasFix(io.bus.serverVersion, remembersRemovals) ? [] : queuesOf(io)
    let waiting = waitingStreams
    for (let round = 0; current() && round < roundsMax; round++) {
      try {
        for (const stream of waiting) await sweepWaiting(io, stream, current)
        waiting = []
        queues = await sweepQueues(io, queues)
        if (queues.length === 0) return
      } catch (err) {
        io.log.warn({ err }, 'what the server brought back could not be looked through, again soon')
      }
      await sleep(againAfterMs, undefined, { ref: false })
    }
  }
  io.bus.onReconnect(() => void sweep()) // Catches everything itself.
  void sweep()
  return { stop: () => void (running = false) }
}

async function sweepWaiting(io: Io, stream: WaitingStream, current: () => boolean): Promise<void> {
  for (const subject of await subjectsIn(io, stream)) {
    if (!current()) return
    const job = trailingJob(subject)
    const last = job === undefined ? undefined : await io.chain.last(job)
    if (last !== undefined) await carryOn(io, last)
  }
}

/** The server tells them in pages. */
async function subjectsIn(io: Io, stream: WaitingStream): Promise<string[]> {
  const all: string[] = []
  for (;;) {
    const info = await io.bus.request(`$JS.API.STREAM.INFO.${stream}`, {
      subjects_filter: '>',
      offset: all.length,
    })
    const { subjects } = info['state'] as { readonly subjects?: Readonly<Record<string, number>> }
    const page = Object.keys(subjects ?? {})
    all.push(...page)
    if (page.length === 0 || all.length >= Number(info['total'] ?? 0)) return all
  }
}

function queuesOf({ topology }: Io): readonly string[] {
  return [
    ...placedAgents(topology).map(({ tenant, name }) => intakeStream(tenant, name)),
    ...topology.pools.map(({ name }) => resultsStream(name)),
    httpIntakeStream,
    commandsStream,
  ]
}

/** Returns those that were busy and must be looked at again. */
async function sweepQueues(io: Io, queues: readonly string[]): Promise<string[]> {
  const busy: string[] = []
  for (const stream of queues) if (!(await sweepQueue(io, stream))) busy.push(stream)
  return busy
}

/**
 * With nothing delivered and unacknowledged, all that stands up to the acknowledged sequence was acknowledged before, and
 * is acknowledged once more: then the server removes it. False: something is in hand, so nothing can be said yet.
 */
async function sweepQueue(io: Io, stream: string): Promise<boolean> {
  const consumer = await io.bus.request(`$JS.API.CONSUMER.INFO.${stream}.${gatewayConsumer}`)
  if (consumer['num_ack_pending'] !== 0) return false
  const upTo = (consumer['ack_floor'] as { readonly stream_seq: number }).stream_seq
  for (let from = await firstIn(io, stream); from <= upTo;) {
    for (let seq = from; seq <= Math.min(upTo, from + acksAtOnce - 1); seq++)
      io.bus.publish(`$JS.ACK.${stream}.${gatewayConsumer}.1.${seq}.0.0.0`, '')
    await io.bus.flush()
    const next = await firstIn(io, stream)
    if (next === from) return false // Not taken yet.
    from = next
  }
  return true
}

/** The sequence of the oldest message; of an empty stream the one that comes next. */
async function firstIn(io: Io, stream: string): Promise<number> {
  const info = await io.bus.request(`$JS.API.STREAM.INFO.${stream}`)
  return (info['state'] as { readonly first_seq: number }).first_seq
}
