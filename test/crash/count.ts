import type { Told } from './approvers.ts'
import { endsOf, traceOf, type Submitted } from './load.ts'
import type { Entry } from './tail.ts'
import type { Received } from './workers.ts'

/** What is known at the end, each part from somebody who is not a gateway. */
export type Seen = {
  readonly audit: readonly Entry[]
  readonly work: readonly Entry[]
  readonly received: readonly Received[]
  readonly submitted: readonly Submitted[]
  readonly told: readonly Told[]
}

/** Every kind of broken promise, with one line for each time it was broken. */
export type Broken = Record<Promised, string[]>
type Promised =
  | 'lost'
  | 'notEnded'
  | 'decidedTwice'
  | 'brokenChain'
  | 'dispatchedTwice'
  | 'dispatchedWithoutRecord'
  | 'dispatchedAfterEnd'
  | 'tooManyAttempts'
  | 'receivedTwice'
  | 'receivedUndispatched'
  | 'resolvedTwice'
  | 'toldOtherwise'
  | 'answeredOtherwise'
  | 'falseRecord'
  | 'endedOtherwise'

/** The few fields of a record that are counted here; read from the bytes, not by the gateway's own types. */
type Rec = {
  readonly id: string
  readonly time: string
  readonly data: {
    readonly job_id: string
    readonly job_seq: number
    readonly event: string
    readonly state: { readonly from: string; readonly to: string }
    readonly decision: { readonly type: string; readonly rule_id: string }
    readonly dispatch?: {
      readonly pool: string
      readonly attempt: number
      readonly attempts_max: number
      readonly deadline: string
    }
    readonly resolution?: { readonly by: string; readonly decision: string; readonly at: string }
    readonly trace_id: string
    readonly refuse?: string
    readonly detail?: string
    readonly limit?: string
  }
}

/** One record with its place in the stream. */
export type Link = { readonly entry: Entry; readonly record: Rec }

const terminal = [
  'SUCCEEDED',
  'DENIED',
  'REJECTED',
  'EXPIRED',
  'DROPPED',
  'FAILED',
  'TIMED_OUT',
  'CANCELLED',
  'JOINED',
]
const dispatches = ['allowed', 'approved', 'retried']
/** Two people decide about everything here: the slower one's refusal belongs on record. */
const expectedRefusals = ['already_resolved']
/** A result whose attempt was over when it came through at last. */
const refusedPrefix = 'audit._refused.'
const lateRefusals = ['late-result', 'stale-attempt']

/**
 * Reads everything and names what should not be. A server that dies loses what is on its way and promised to nobody: a
 * plain publish, a message to a plain subscriber, a result. Such a job may be missing or run out of time; and a pull
 * worker may get again what it got in the server's last moment, by the same job and attempt. Nothing else.
 */
export function count(seen: Seen, serverDied = false): Broken {
  const broken = countRecords(seen, serverDied)
  const chains = chainsOf(seen.audit)
  countPeople(broken, seen, chains, serverDied)
  for (const { subject, body } of seen.audit) {
    if (!subject.startsWith(refusedPrefix)) continue
    const { refuse = '', detail = '' } = (JSON.parse(body) as Rec).data
    const expected = [...expectedRefusals, ...(serverDied ? lateRefusals : [])].includes(refuse)
    const late = refuse === 'late-result' && isLate(detail, chains.get(subject.slice(refusedPrefix.length)))
    if (!expected && !late) broken.falseRecord.push(`${refuse} (${detail}) ${subject}`)
  }
  return broken
}

/** On a machine with too much to do a worker really is late now and then; who says so of it must be able to show it. */
function isLate(detail: string, links: readonly Link[] = []): boolean {
  const [, stored = ''] = /^stored (\S+),/.exec(detail) ?? []
  const deadline = links.findLast(({ record }) => record.data.dispatch)?.record.data.dispatch?.deadline ?? ''
  return Date.parse(stored) >= Date.parse(deadline)
}

/** What must hold whoever sends what: the chains, and what was dispatched under them. */
export function countRecords(seen: Pick<Seen, 'audit' | 'work' | 'received'>, serverDied = false): Broken {
  const broken = noneBroken()
  const chains = chainsOf(seen.audit)
  for (const [job, links] of chains) countChain(broken, job, links)
  countWork(broken, seen, chains, serverDied)
  return broken
}

const noneBroken = (): Broken => ({
  lost: [],
  notEnded: [],
  decidedTwice: [],
  brokenChain: [],
  dispatchedTwice: [],
  dispatchedWithoutRecord: [],
  dispatchedAfterEnd: [],
  tooManyAttempts: [],
  receivedTwice: [],
  receivedUndispatched: [],
  resolvedTwice: [],
  toldOtherwise: [],
  answeredOtherwise: [],
  falseRecord: [],
  endedOtherwise: [],
})

/** The records of each job in the order in which they are stored; what stands beside the chains is left out. */
export function chainsOf(audit: readonly Entry[]): ReadonlyMap<string, readonly Link[]> {
  const chains = new Map<string, Link[]>()
  for (const entry of audit) {
    const job = entry.subject.slice('audit.'.length)
    if (job.startsWith('_')) continue
    const links = chains.get(job) ?? []
    links.push({ entry, record: JSON.parse(entry.body) as Rec })
    chains.set(job, links)
  }
  return chains
}

export function isTerminal(state: string): boolean {
  return terminal.includes(state)
}

function isOver(links: readonly Link[]): boolean {
  return isTerminal(links.at(-1)?.record.data.state.to ?? '')
}

function countChain(broken: Broken, job: string, links: readonly Link[]): void {
  const first = links.filter(({ record }) => record.data.job_seq === 0)
  if (first.length !== 1) broken.decidedTwice.push(`${job}: ${first.length} first decisions`)
  let state = 'RECEIVED'
  for (const [index, { record }] of links.entries()) {
    const { job_seq, state: move, job_id } = record.data
    if (job_seq !== index || record.id !== `${job}.${index}` || job_id !== job || move.from !== state)
      broken.brokenChain.push(`${record.id} is at place ${index} and goes from ${move.from}, not ${state}`)
    state = move.to
  }
  if (!isOver(links)) broken.notEnded.push(`${job} is ${state}`)
  const resolved = links.filter(({ record }) => ['approved', 'rejected'].includes(record.data.event))
  if (resolved.length > 1) broken.resolvedTwice.push(`${job}: ${resolved.length} resolutions`)
}

function countWork(
  broken: Broken,
  { audit, work, received }: Pick<Seen, 'audit' | 'work' | 'received'>,
  chains: ReturnType<typeof chainsOf>,
  serverDied: boolean,
): void {
  const records = new Map(audit.map((entry) => [entry.seq, entry]))
  const dispatched = new Set<string>()
  for (const entry of work) {
    const tokens = entry.subject.split('.')
    const attempt = Number(tokens.at(-1))
    const job = tokens.slice(-3, -1).join('.')
    const key = `${job}.${attempt}`
    if (dispatched.has(key)) broken.dispatchedTwice.push(key)
    dispatched.add(key)
    const cause = records.get(Number(entry.header('Sluice-Decision')))
    const record = cause?.subject === `audit.${job}` ? (JSON.parse(cause.body) as Rec) : undefined
    const { event = '', dispatch } = record?.data ?? {}
    const enabled = dispatches.includes(event) && dispatch?.attempt === attempt && dispatch.pool === tokens[2]
    if (!enabled || (cause?.timeMs ?? Infinity) > entry.timeMs) broken.dispatchedWithoutRecord.push(key)
    if (attempt > (dispatch?.attempts_max ?? 0)) broken.tooManyAttempts.push(key)
    const end = chains.get(job)?.at(-1)
    if (end !== undefined && isOver([end]) && end.entry.timeMs < entry.timeMs)
      broken.dispatchedAfterEnd.push(key)
  }
  const got = new Set<string>()
  for (const { job, attempt, pool } of received) {
    const key = `${job}.${attempt}`
    // What a pull consumer has delivered is written a moment later: a server that dies in it delivers once more.
    if (got.has(key) && !(serverDied && pool === 'exec')) broken.receivedTwice.push(`${pool} ${key}`)
    got.add(key)
    if (!dispatched.has(key)) broken.receivedUndispatched.push(key)
  }
}

function countPeople(
  broken: Broken,
  { submitted, told }: Seen,
  chains: ReturnType<typeof chainsOf>,
  serverDied: boolean,
): void {
  const byTrace = new Map<string, string>()
  for (const [job, links] of chains) {
    const trace = links[0]?.record.data.trace_id ?? ''
    if (byTrace.has(trace)) broken.decidedTwice.push(`${trace} is ${byTrace.get(trace)} and ${job}`)
    byTrace.set(trace, job)
  }
  const ends = (topic: string): readonly string[] => [...endsOf(topic), ...(serverDied ? ['TIMED_OUT'] : [])]
  for (const { n, answer, topic, plain } of submitted) {
    const job = byTrace.get(traceOf(n))
    const links = chains.get(job ?? '') ?? []
    const last = links.at(-1)?.record.data
    if (last === undefined && !(plain && serverDied)) broken.lost.push(`${n} (${topic})`)
    if (last !== undefined && isTerminal(last.state.to) && !ends(topic).includes(last.state.to))
      broken.endedOtherwise.push(`${job} (${topic}) ${last.state.to} ${last.limit ?? last.decision.rule_id}`)
    if (answer === undefined) continue
    const agrees = links.some(
      ({ record: { data } }) =>
        data.state.to === answer.state && data.decision.rule_id === answer.decision.rule_id,
    )
    if (job !== answer.job_id || !agrees)
      broken.answeredOtherwise.push(`${n} (${topic}) is ${job}, answered ${answer.job_id} ${answer.state}`)
  }
  for (const { job, by, wanted, outcome, resolution } of told) {
    const onRecord = chains
      .get(job)
      ?.find(({ record }) => ['approved', 'rejected'].includes(record.data.event))?.record.data.resolution
    const same = onRecord !== undefined && onRecord.by === resolution?.by && onRecord.at === resolution.at
    const mine = same && onRecord.by === by && onRecord.decision === wanted
    if (outcome === 'resolved' ? !mine : !same)
      broken.toldOtherwise.push(`${by} was told ${outcome} about ${job}`)
  }
}

/** What is left of a count when all is well. */
export const nothingBroken: Broken = noneBroken()

/** The first few of each kind, so that a failure can be read. */
export function shown(broken: Broken): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(broken).map(([name, lines]) => [
      name,
      lines.length > 5 ? [...lines.slice(0, 5), `and ${lines.length - 5} more`] : lines,
    ]),
  )
}
