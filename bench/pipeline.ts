import type { Constants } from './protocol.ts'
import { runRound, type Load, type Round } from './round.ts'
import { median, quantile, rounded } from './statistics.ts'
import { bare, governed, relay, type Ground, type GroundOptions } from './variants.ts'

export type PipelineOptions = GroundOptions & { rounds: number; load: Load; say: (line: string) => void }

/** Medians of all rounds; `ratio` is governed by bare. */
export type PipelineFigures = {
  governed_jobs_per_s: number
  bare_jobs_per_s: number
  relay_msgs_per_s: number
  ratio: number
  /** The same gateway with empty tickets; no setting of a gateway does this. */
  without_tickets_jobs_per_s: number
  without_tickets_cpu_us_per_job: number | null
  p50_ms: number
  p99_ms: number
  bare_p50_ms: number
  bare_p99_ms: number
  relay_p50_ms: number
  relay_p99_ms: number
  /** Processor time of the process in the middle; null where the system does not say. */
  governed_cpu_us_per_job: number | null
  bare_cpu_us_per_job: number | null
  rounds: { governed: number; bare: number; relay: number }[]
  jobs_per_round: number
  record_bytes: number
}

/** A round that would end later does not begin, so that a slow machine gives fewer rounds instead of a long wait. */
const allWithinMs = 100_000

type Rounds = { governed: Round[]; ticketless: Round[]; bare: Round[]; relay: Round[] }

/** Jobs from an agent's publish to a worker's receipt: through the gate, through two bare writes, through nothing. */
export async function runPipeline(options: PipelineOptions): Promise<PipelineFigures> {
  const done: Rounds = { governed: [], ticketless: [], bare: [], relay: [] }
  const startedMs = performance.now()
  const { load, say } = options
  let longestMs = 0
  for (let at = 0; at < options.rounds; at++) {
    const beginMs = performance.now()
    if (beginMs - startedMs + longestMs > allWithinMs) {
      say(`pipeline: time is up after ${at} rounds of ${options.rounds}`)
      break
    }
    const through = await on(governed(options), load)
    const constants = constantsOf(through)
    const without = await on(bare(options, constants), load)
    const past = await on(relay(options), load)
    const unsigned = await on(governed({ ...options, profileDir: undefined }, 'without tickets'), load)
    done.governed.push(through)
    done.ticketless.push(unsigned)
    done.bare.push(without)
    done.relay.push(past)
    const figures = [through, unsigned, without, past].map(({ perSec }) => rounded(perSec)).join(' / ')
    say(
      `pipeline: round ${at + 1} of ${options.rounds}: governed / without tickets / bare / relay ${figures} jobs/s`,
    )
    longestMs = Math.max(longestMs, performance.now() - beginMs)
  }
  return figuresOf(done, load)
}

async function on(opening: Promise<Ground>, load: Load): Promise<Round> {
  const ground = await opening
  try {
    return await runRound(ground, load)
  } finally {
    await ground.between.stop()
    await ground.stop()
  }
}

function constantsOf(round: Round): Constants {
  const record = round.trail?.record
  if (record === undefined) throw new Error('the job that the worker got last has no allowance on record')
  return { record, headers: round.sample.headers }
}

function figuresOf(done: Rounds, load: Load): PipelineFigures {
  const perSec = (rounds: readonly Round[]): number => rounded(median(rounds.map((round) => round.perSec)))
  const latency = (rounds: readonly Round[], share: number): number =>
    rounded(median(rounds.map(({ latenciesMs }) => quantile(latenciesMs, share))), 2)
  const cpu = (rounds: readonly Round[]): number | null => {
    const us = median(rounds.map(({ cpuUsPerJob }) => cpuUsPerJob))
    return Number.isNaN(us) ? null : rounded(us, 1)
  }
  const governedPerSec = perSec(done.governed)
  const barePerSec = perSec(done.bare)
  return {
    governed_jobs_per_s: governedPerSec,
    bare_jobs_per_s: barePerSec,
    relay_msgs_per_s: perSec(done.relay),
    ratio: rounded(governedPerSec / barePerSec, 3),
    without_tickets_jobs_per_s: perSec(done.ticketless),
    without_tickets_cpu_us_per_job: cpu(done.ticketless),
    p50_ms: latency(done.governed, 0.5),
    p99_ms: latency(done.governed, 0.99),
    bare_p50_ms: latency(done.bare, 0.5),
    bare_p99_ms: latency(done.bare, 0.99),
    relay_p50_ms: latency(done.relay, 0.5),
    relay_p99_ms: latency(done.relay, 0.99),
    governed_cpu_us_per_job: cpu(done.governed),
    bare_cpu_us_per_job: cpu(done.bare),
    rounds: done.governed.map((round, at) => ({
      governed: rounded(round.perSec),
      bare: rounded(done.bare[at]?.perSec ?? NaN),
      relay: rounded(done.relay[at]?.perSec ?? NaN),
    })),
    jobs_per_round: load.jobs,
    record_bytes: Buffer.byteLength(done.governed[0]?.trail?.record ?? ''),
  }
}
