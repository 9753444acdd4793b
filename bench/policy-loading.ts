import { existsSync, openSync, readSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { loadPolicyBeside } from '../gateway/policies/load.ts'
import { evaluate } from '../policy/evaluate.ts'
import type { Job } from '../policy/job.ts'
import type { Policy } from '../policy/rule.ts'
import type { PolicyFile } from '../policy/schema.ts'
import { rounded } from './statistics.ts'

export type LoadFigures = {
  /** From the YAML text to a policy that decides, while this process decides other jobs; time that passes. */
  loadMs: number
  /** The longest time for which the event loop stood still meanwhile, as its own monitor tells it. */
  maxPauseMs: number
  /** The longest that it worked between two turns; what other processes took from it does not count. Null where Linux cannot be asked. */
  maxWorkMs: number | null
}

/** Decided in one turn of the event loop: well below a millisecond. */
const jobsPerTurn = 100

/** Loads the rules as a gateway does on a live reload, with jobs being decided all the time. */
export async function measureLoad(
  file: PolicyFile,
  { policy, jobs }: { readonly policy: Policy; readonly jobs: readonly Job[] },
): Promise<LoadFigures> {
  const text = yamlOf(file)
  const worked = workedMs()
  let maxWorkMs = 0
  let stopped = false
  const flow = (async () => {
    let before = worked?.() ?? 0
    for (let at = 0; !stopped; await nextTurn()) {
      for (let count = 0; count < jobsPerTurn; count++)
        evaluate(policy, jobs[at++ % jobs.length] as Job, { nowMs: 0, granted: [] })
      const now = worked?.() ?? 0
      maxWorkMs = Math.max(maxWorkMs, now - before)
      before = now
    }
  })()
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const beginMs = performance.now()
  const loaded = await loadPolicyBeside([{ text }])
  const loadMs = rounded(performance.now() - beginMs)
  delay.disable()
  stopped = true
  await flow
  if (!loaded.ok) throw new Error(`the workload does not load: ${loaded.problems[0]?.message}`)
  const maxPauseMs = rounded(delay.max / 1e6, 1)
  return { loadMs, maxPauseMs, maxWorkMs: worked === undefined ? null : rounded(maxWorkMs, 1) }
}

/** Processor time of this thread in milliseconds; undefined where the system does not tell it. */
function workedMs(): (() => number) | undefined {
  const file = `/proc/self/task/${process.pid}/schedstat`
  if (!existsSync(file)) return undefined
  const descriptor = openSync(file, 'r')
  const text = Buffer.alloc(64)
  return () => Number.parseInt(text.toString('latin1', 0, readSync(descriptor, text, 0, 64, 0)), 10) / 1e6
}

/** The rules as a person would write them. */
function yamlOf({ version, rules }: PolicyFile): string {
  const lines = [`version: ${version}`, 'rules:']
  for (const { id, decision, match, constraints, throttle } of rules) {
    lines.push(`  - id: ${id}`, `    decision: ${decision}`, '    match:')
    for (const [key, value] of Object.entries(match)) lines.push(`      ${key}: ${JSON.stringify(value)}`)
    if (constraints !== undefined) lines.push(`    constraints: ${JSON.stringify(constraints)}`)
    if (throttle !== undefined) lines.push(`    throttle: ${JSON.stringify(throttle)}`)
  }
  return `${lines.join('\n')}\n`
}
