import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Answer } from '../audit/answer.ts'
import { cpuUs } from './cpu.ts'
import { connectAs } from './login.ts'
import type { Login } from './protocol.ts'
import { provisioned, serve, type Serving } from './serving.ts'
import { quantile, rounded } from './statistics.ts'

export type TimersOptions = {
  binary: string
  profileDir: string | undefined
  /** How many jobs wait for a person who never comes. */
  parked: number
  /** Other jobs a second, from the first parked job to the last expiry. */
  steadyPerSec: number
  say: (line: string) => void
}

/**
 * How long after its time a parked job expires, until its agent hears of it, in milliseconds. Sender and hearer are this process:
 * one clock.
 */
export type TimersFigures = {
  parked: number
  steady_per_s: number
  lateness_median_ms: number
  lateness_p999_ms: number
  lateness_max_ms: number
  /** The gateway's share of one core while they expire; null where the system does not say. */
  gateway_cpu_share: number | null
}

/** Longer than a gateway holds a message, so that all go back to the server with a delay first. */
const expiresInSec = 26
const parkedPerSec = 1_250
const tickMs = 20
/** Something has to expire within this time once the first one is due. */
const stalledAfterMs = 30_000

const policy = `version: v1
rules:
  - id: asked
    match: { topics: ["job.asked.*"] }
    decision: require_approval
    approval: { expires_in: ${expiresInSec}s }
  - id: free
    match: { topics: ["job.free.*"] }
    decision: allow
`

/** Parks the jobs under a steady load and hears when each of them expires; throws if one never does, or does too early. */
export async function runTimers(options: TimersOptions): Promise<TimersFigures> {
  const server = await provisioned(options.binary)
  let gateway: Serving | undefined
  try {
    const file = join(server.dir, 'policy.yaml')
    await writeFile(file, policy)
    gateway = await serve(server, options.profileDir, { policy: file })
    const { lateness, cpuShare } = await expire(server.login('demo'), gateway.pid, options)
    if (Math.min(...lateness) < 0) throw new Error('a job expired before its time')
    return {
      parked: options.parked,
      steady_per_s: options.steadyPerSec,
      lateness_median_ms: rounded(quantile(lateness, 0.5)),
      lateness_p999_ms: rounded(quantile(lateness, 0.999)),
      lateness_max_ms: rounded(Math.max(...lateness)),
      gateway_cpu_share: Number.isNaN(cpuShare) ? null : rounded(cpuShare, 2),
    }
  } finally {
    await gateway?.stop()
    await server.stop()
  }
}

/** The figures as a table for people. */
export function timersTable(figures: TimersFigures): string {
  const { parked, steady_per_s, lateness_median_ms, lateness_p999_ms, lateness_max_ms } = figures
  return [
    `${parked} parked jobs expire beside ${steady_per_s} jobs/s`,
    `late by: median ${lateness_median_ms} ms, p99.9 ${lateness_p999_ms} ms, at most ${lateness_max_ms} ms`,
  ].join('\n')
}

async function expire(
  login: Login,
  pid: number,
  { parked, steadyPerSec, say }: TimersOptions,
): Promise<{ lateness: number[]; cpuShare: number }> {
  const agent = await connectAs(login)
  const dueMs = new Map<string, number>()
  const lateness: number[] = []
  let heardMs = performance.now()
  agent.subscribe('decision.>', {
    callback: (_error, message) => {
      const nowMs = Date.now()
      const state = message.headers?.get('Sluice-State')
      if (state !== 'PARKED' && state !== 'EXPIRED') return
      heardMs = performance.now()
      const { job_id, approval } = message.json<Answer>()
      if (state === 'PARKED') dueMs.set(job_id, Date.parse(approval?.expires_at ?? ''))
      else lateness.push(nowMs - (dueMs.get(job_id) ?? NaN))
    },
  })
  await agent.flush()
  const startedMs = performance.now()
  const sent = { parked: 0, steady: 0 }
  const dueNow = (perSec: number): number => ((performance.now() - startedMs) * perSec) / 1_000
  let cpuBefore = { us: NaN, atMs: NaN }
  while (lateness.length < parked) {
    for (const due = Math.min(parked, dueNow(parkedPerSec)); sent.parked < due; sent.parked++)
      agent.publish('job.asked.x', `{"payload":${sent.parked}}`)
    for (const due = dueNow(steadyPerSec); sent.steady < due; sent.steady++)
      agent.publish('job.free.x', `{"payload":${sent.steady}}`)
    if (lateness.length > 0 && Number.isNaN(cpuBefore.us)) {
      say(`timers: ${dueMs.size} jobs are parked, the first expire`)
      cpuBefore = { us: await cpuUs(pid), atMs: performance.now() }
    }
    if (performance.now() - heardMs > expiresInSec * 1_000 + stalledAfterMs)
      throw new Error(`${lateness.length} of ${parked} parked jobs expired, then none any more`)
    await sleep(tickMs)
  }
  const tookMs = performance.now() - cpuBefore.atMs
  const cpuShare = ((await cpuUs(pid)) - cpuBefore.us) / 1_000 / tookMs
  await agent.close()
  return { lateness, cpuShare }
}
