import { isTerminal } from '../audit/lifecycle.ts'
import { exitCodes } from './exit-codes.ts'
import { jobText, outputText, stateText, type ShownJob } from './job-text.ts'
import { exitCodeOf } from './outcome-codes.ts'
import { refused, UsageError, type Call, type Subcommand } from './subcommand.ts'
import { visible } from './visible.ts'

export const jobGet: Subcommand = {
  about: 'what became of a job',
  help: `usage: sluice job get JOB_ID

Shows a job's state, the decision and its reason, attempts, limits and the released output.

  sluice job get default.m0k3...
  sluice job get default.m0k3... -o json | jq .result.body
`,
  options: {},
  words: { min: 1, max: 1 },
  run: async (call) => {
    const reply = await (
      await call.gateway()
    ).call('GET', `/api/v1/jobs/${encodeURIComponent(call.rest[0] ?? '')}`)
    if (reply.status !== 200) return refused(call, reply)
    show(call, reply.body as unknown as ShownJob)
    return exitCodes.ok
  },
}

export const jobWatch: Subcommand = {
  about: 'follow a job until it is at rest',
  help: `usage: sluice job watch JOB_ID [--timeout SECONDS]

Prints a line for each change until the job is at rest, then the job. The exit code is the job's outcome: 0 succeeded,
3 denied, 5 rejected, 6 expired or timed out (also the watching itself), 8 quarantined, 1 failed or cancelled.

  --timeout N       give up after so many seconds (default: never)`,
  options: { timeout: 'text' },
  words: { min: 1, max: 1 },
  run: (call) => watch(call, call.rest[0] ?? '', secondsOf(call, 'timeout')),
}

export const jobCancel: Subcommand = {
  about: 'end a job that waits or runs',
  help: `usage: sluice job cancel JOB_ID [--note TEXT]

A waiting job never runs; a running one's worker is told, and its result does not count any more.

  --note TEXT       why; stands on record`,
  options: { note: 'text' },
  words: { min: 1, max: 1 },
  run: async (call) => {
    const path = `/api/v1/jobs/${encodeURIComponent(call.rest[0] ?? '')}/cancel`
    const { note } = call.text
    const reply = await (
      await call.gateway()
    ).call('POST', path, { body: note === undefined ? {} : { note } })
    if (reply.status !== 200) return refused(call, reply)
    call.terminal.out(
      call.json
        ? JSON.stringify(reply.body)
        : `${String(reply.body['job_id'])}  ${String(reply.body['state'])}`,
    )
    return exitCodes.ok
  },
}

/** A whole number of seconds from an option; undefined if it was not given. */
export function secondsOf(call: Call, name: string): number | undefined {
  const text = call.text[name]
  if (text === undefined) return undefined
  if (!/^\d{1,7}$/.test(text)) throw new UsageError(`--${name} is a whole number of seconds`)
  return Number(text)
}

const waitSecMax = 20

/** Follows the job, then shows it; returns the code of its outcome. */
export async function watch(call: Call, id: string, timeoutSec: number | undefined): Promise<number> {
  const gateway = await call.gateway()
  const deadlineMs = timeoutSec === undefined ? Infinity : performance.now() + timeoutSec * 1_000
  let seen = ''
  for (;;) {
    const leftSec = Math.max(0, Math.min(waitSecMax, Math.ceil((deadlineMs - performance.now()) / 1_000)))
    // The first look does not wait, so that there is something to read at once.
    const wait = seen === '' ? 0 : leftSec
    const reply = await gateway.call('GET', `/api/v1/jobs/${encodeURIComponent(id)}?wait=${wait}`)
    if (reply.status !== 200) return refused(call, reply)
    const job = reply.body as unknown as ShownJob
    const change = `${job.state} ${job.attempts ?? 0}`
    const rests = isTerminal(job.state) || job.state === 'QUARANTINED'
    if (rests) {
      show(call, job)
      return exitCodeOf(job.state)
    }
    if (change !== seen) tellChange(call, job)
    seen = change
    if (performance.now() >= deadlineMs) {
      call.terminal.err('still not at rest')
      return exitCodes.expired
    }
  }
}

function tellChange({ json, terminal }: Call, job: ShownJob): void {
  if (json) return terminal.out(JSON.stringify(job))
  const attempt = job.attempts === undefined || job.attempts < 2 ? '' : `, attempt ${job.attempts}`
  terminal.err(`${new Date(terminal.nowMs()).toISOString()}  ${stateText(job.state, terminal)}${attempt}`)
}

/** The job and, below it, its output. */
export function show({ json, terminal }: Call, job: ShownJob): void {
  if (json) return terminal.out(JSON.stringify(job))
  for (const line of jobText(job, terminal)) terminal.out(line)
  const output = outputText(job)
  if (output === undefined) return
  terminal.out('')
  for (const line of output.split('\n')) terminal.out(visible(line))
}
