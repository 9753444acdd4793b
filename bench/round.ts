import { startChild, type Child } from './children.ts'
import { cpuUs } from './cpu.ts'
import type { AgentOrder, AgentWord, Sample, WorkerOrder, WorkerWord } from './protocol.ts'
import { readTrail, type Trail } from './trail.ts'
import type { Ground } from './variants.ts'

/** How much one round does. */
export type Load = {
  /** Jobs before the clock starts: compilers and caches. */
  warmUp: number
  jobs: number
  /** Jobs on their way at most, while throughput is measured. */
  window: number
  openPerSec: number
  openJobs: number
}

export type Round = {
  perSec: number
  /** From publish to receipt while `openPerSec` are published, in milliseconds. */
  latenciesMs: number[]
  /** Processor time of the process in the middle for one job, in microseconds; NaN where the system does not say. */
  cpuUsPerJob: number
  trail: Trail | undefined
  sample: Sample
}

type Agent = Child<AgentOrder, AgentWord>
type Worker = Child<WorkerOrder, WorkerWord>

const wordWithinMs = 30_000
/** A phase may take its time on a slow machine, but something has to arrive. */
const stalledAfterMs = 10_000
const settleMs = 150

/** Runs one round and checks it: every job was received once, and each has its one record. Throws if not. */
export async function runRound(ground: Ground, load: Load): Promise<Round> {
  const worker: Worker = startChild('worker', ground.worker)
  const agent: Agent = startChild('agent', ground.agent)
  worker.onWord((word) => {
    if (word.type === 'credit') agent.order(word)
  })
  try {
    await Promise.all([worker.word('ready', wordWithinMs), agent.word('ready', wordWithinMs)])
    await phase(agent, worker, { type: 'closed', first: 0, count: load.warmUp, window: load.window })
    const cpuBeforeUs = await cpuUs(ground.between.pid)
    const closed = await phase(agent, worker, {
      type: 'closed',
      first: load.warmUp,
      count: load.jobs,
      window: load.window,
    })
    const cpuAfterUs = await cpuUs(ground.between.pid)
    const open = await phase(agent, worker, {
      type: 'open',
      first: load.warmUp + load.jobs,
      count: load.openJobs,
      perSec: load.openPerSec,
    })
    const { trail, sample } = await check(ground, worker, load.warmUp + load.jobs + load.openJobs)
    return {
      perSec: (load.jobs / closed.tookUs) * 1_000_000,
      latenciesMs: open.latenciesUs.map((us) => us / 1_000),
      cpuUsPerJob: (cpuAfterUs - cpuBeforeUs) / load.jobs,
      trail,
      sample,
    }
  } finally {
    await Promise.all([agent.stop(), worker.stop()])
  }
}

type Phase = { tookUs: number; latenciesUs: number[] }

/** From the first publish to the last receipt. */
async function phase(
  agent: Agent,
  worker: Worker,
  order: Exclude<AgentOrder, { type: 'credit' }>,
): Promise<Phase> {
  worker.order({ type: 'expect', first: order.first, count: order.count })
  // Else the first jobs may overtake the order on a busy machine, and would not be counted.
  await worker.word('expecting', wordWithinMs)
  agent.order(order)
  const begun = await agent.word('begun', wordWithinMs)
  const complete = await arrival(worker, order.count)
  await agent.word('sent', wordWithinMs)
  return { tookUs: complete.atUs - begun.atUs, latenciesUs: complete.latencies }
}

/** The last receipt of a phase; rejects when nothing has come for a while. */
async function arrival(worker: Worker, count: number): Promise<Extract<WorkerWord, { type: 'complete' }>> {
  for (let before = -1; ;) {
    const word = await worker.word('complete', stalledAfterMs).catch(() => undefined)
    if (word !== undefined) return word
    const { jobs } = await counted(worker)
    if (jobs === before)
      throw new Error(`${jobs} jobs received so far, then nothing more of the last ${count}`)
    before = jobs
  }
}

async function counted(worker: Worker): Promise<Extract<WorkerWord, { type: 'seen' }>> {
  worker.order({ type: 'report' })
  return worker.word('seen', wordWithinMs)
}

async function check(
  ground: Ground,
  worker: Worker,
  published: number,
): Promise<{ trail: Trail | undefined; sample: Sample }> {
  // A double would come a moment after the first.
  await new Promise((resolve) => setTimeout(resolve, settleMs))
  const { jobs, doubled, unknown, sample } = await counted(worker)
  if (jobs !== published || doubled > 0 || unknown > 0 || sample === undefined) {
    throw new Error(`${published} jobs published, ${jobs} received, ${doubled} twice, ${unknown} unknown`)
  }
  if (ground.auditor === undefined) return { trail: undefined, sample }
  const job = sample.headers.find(([name]) => name === 'Sluice-Job')?.[1]
  const trail = await readTrail(ground.auditor, job)
  if (trail.records !== published || trail.jobs !== published) {
    throw new Error(`${published} jobs published, ${trail.records} records of ${trail.jobs} jobs in AUDIT`)
  }
  return { trail, sample }
}
