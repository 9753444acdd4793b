import type { Answer } from '../audit/answer.ts'
import { cpuUs } from './cpu.ts'
import { connectAs } from './login.ts'
import { provisioned, serve, type Serving } from './serving.ts'
import { quantile, rounded } from './statistics.ts'

export type ApprovalsOptions = {
  binary: string
  profileDir: string | undefined
  /** How many jobs wait while everything is measured. */
  parked: number
  /** How many pages are listed, each after a job on it was resolved, and how many jobs resolved before that. */
  calls: number
  say: (line: string) => void
}

/** What a person waits for while `parked` jobs wait for a person. Times of whole HTTP calls, in milliseconds. */
export type ApprovalsFigures = {
  parked: number
  calls: number
  list_p50_ms: number
  list_p99_ms: number
  resolve_p50_ms: number
  resolve_p99_ms: number
  /** Processor time of the gateway for one page and one resolution; null where the system does not say. */
  list_cpu_ms: number | null
  resolve_cpu_ms: number | null
  /** From the start of a new gateway's process to the first page of its list. */
  restart_ms: number
}

const topic = 'job.mcp-bridge.write.update_ticket'
const askedTogether = 200
const warmUpCalls = 50

/** Parks the jobs, then lists the first page and resolves, each call after the other, and starts the gateway anew. */
export async function runApprovals(options: ApprovalsOptions): Promise<ApprovalsFigures> {
  const { parked, calls, say } = options
  const server = await provisioned(options.binary)
  let gateway: Serving | undefined
  try {
    gateway = await serve(server, options.profileDir)
    const jobs = await park(server.login('demo'), parked + 2 * (warmUpCalls + calls))
    say(`approvals: ${jobs.length} jobs are parked`)
    const resolved = jobs.splice(0, warmUpCalls + calls)
    const { pid, httpUrl } = gateway
    const resolve = await timed(pid, resolved, (job) => approve(httpUrl, job))
    // The oldest go first: no page is the one before.
    const next = jobs.splice(0, warmUpCalls + calls)
    const list = await timed(
      pid,
      next,
      () => firstPage(httpUrl),
      (job) => approve(httpUrl, job),
    )
    await gateway.stop()
    const startedMs = performance.now()
    gateway = await serve(server, options.profileDir)
    await firstPage(gateway.httpUrl)
    const restartMs = performance.now() - startedMs
    return {
      parked,
      calls,
      list_p50_ms: rounded(quantile(list.times, 0.5), 1),
      list_p99_ms: rounded(quantile(list.times, 0.99), 1),
      resolve_p50_ms: rounded(quantile(resolve.times, 0.5), 1),
      resolve_p99_ms: rounded(quantile(resolve.times, 0.99), 1),
      list_cpu_ms: less(list.cpuMs, resolve.cpuMs),
      resolve_cpu_ms: resolve.cpuMs,
      restart_ms: rounded(restartMs),
    }
  } finally {
    await gateway?.stop()
    await server.stop()
  }
}

/** The figures as a table for people. */
export function approvalsTable(figures: ApprovalsFigures): string {
  const { parked, list_p50_ms, list_p99_ms, resolve_p50_ms, resolve_p99_ms, restart_ms } = figures
  return [
    `with ${parked} parked`.padEnd(20) + 'p50 ms'.padStart(10) + 'p99 ms'.padStart(10),
    'first page'.padEnd(20) + String(list_p50_ms).padStart(10) + String(list_p99_ms).padStart(10),
    'resolve one'.padEnd(20) + String(resolve_p50_ms).padStart(10) + String(resolve_p99_ms).padStart(10),
    '',
    `restart to the first page: ${restart_ms} ms`,
  ].join('\n')
}

async function park(login: Parameters<typeof connectAs>[0], count: number): Promise<string[]> {
  const agent = await connectAs(login)
  const jobs: string[] = []
  const comment = 'what the customer was told. '.repeat(8)
  // Each about a ticket of its own: the same request would not be asked a second time.
  const body = (n: number): string =>
    JSON.stringify({ risk_tags: ['prod'], payload: { id: `T-${n}`, status: 'closed', comment } })
  for (let first = 0; first < count; first += askedTogether) {
    const together = Array.from({ length: Math.min(askedTogether, count - first) }, (_, n) =>
      agent.request(topic, body(first + n), { timeout: 30_000 }),
    )
    for (const reply of await Promise.all(together)) {
      const answer = reply.json<Answer>()
      if (answer.state !== 'PARKED') throw new Error(`a job is ${answer.state}, not parked`)
      jobs.push(answer.job_id)
    }
  }
  await agent.close()
  return jobs
}

type Timed = { times: number[]; cpuMs: number | null }

const less = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? null : rounded(Math.max(0, a - b), 1)

/** How long each call took, one after the other, without those that warm up and without what comes before each. */
async function timed<T>(
  pid: number,
  over: readonly T[],
  call: (one: T) => Promise<void>,
  before: (one: T) => Promise<void> = () => Promise.resolve(),
): Promise<Timed> {
  const times: number[] = []
  let beforeUs = NaN
  for (const [index, one] of over.entries()) {
    if (index === warmUpCalls) beforeUs = await cpuUs(pid)
    await before(one)
    const startedMs = performance.now()
    await call(one)
    if (index >= warmUpCalls) times.push(performance.now() - startedMs)
  }
  const cpuMs = ((await cpuUs(pid)) - beforeUs) / 1_000 / times.length
  return { times, cpuMs: Number.isNaN(cpuMs) ? null : rounded(cpuMs, 1) }
}

async function firstPage(url: string): Promise<void> {
  const response = await fetch(`${url}/api/v1/approvals?include_resolved=false`)
  const { items } = (await response.json()) as { items?: unknown[] }
  if (items === undefined || items.length === 0) throw new Error('the list is empty')
}

async function approve(url: string, job: string): Promise<void> {
  const response = await fetch(`${url}/api/v1/approvals/${job}/approve`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: '{"note":"bench"}',
  })
  const answer = (await response.json()) as { state?: string }
  if (answer.state !== 'DISPATCHED') throw new Error(`an approved job is ${String(answer.state)}`)
}
