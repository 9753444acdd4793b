import { compilePolicy } from '../policy/compile.ts'
import { evaluate } from '../policy/evaluate.ts'
import { Merge } from '../policy/merge.ts'
import type { Policy } from '../policy/rule.ts'
import { startChild } from './children.ts'
import type { PeerFigure, PeerOrder, PeerWord } from './policy-peer-process.ts'
import { measureLoad } from './policy-loading.ts'
import { makeWorkload, type Workload } from './policy-workload.ts'
import { median, rounded } from './statistics.ts'

export type PolicyOptions = {
  readonly sizes: readonly number[]
  readonly rounds: number
  /** Sizes at which other engines run as well, and how long each of them may take. */
  readonly peerSizes: readonly number[]
  readonly peerWithinMs: number
  readonly say: (line: string) => void
}

/** Nanoseconds are medians of rounds; ratios are medians of the rounds' own ratios, so that a busy machine shows less. */
export type PolicyFigures = {
  /** Processor time of this process, collection of garbage included: other processes disturb it less than time that passes. */
  clock: 'cpu'
  json_parse_ns: number
  ns_per_decision: Record<string, number>
  /** Without remembering what sets of rules come to. */
  ns_without_memo: Record<string, number>
  /** By the time that JSON.parse takes for the same jobs in the same round. */
  ratio: Record<string, number>
  ratio_without_memo: Record<string, number>
  /** By the smallest size. */
  growth: Record<string, number>
  /** The index alone, of rules that are read already. */
  index_ms: Record<string, number>
  /** From YAML to a policy that decides, beside a flow of decisions; in time that passes, as the pauses are. */
  load_ms: Record<string, number>
  /** The longest time for which the event loop stood still while it loaded, and the longest that it worked at a stretch. */
  load_max_pause_ms: Record<string, number>
  load_max_work_ms: Record<string, number>
  matches_per_job: Record<string, number>
  no_match_share: Record<string, number>
  peers: Record<string, Record<string, PeerFigure>>
}

type Ground = Workload & { readonly rules: number; readonly policy: Policy; readonly plain: Policy }
type Sample = { readonly parseNs: number; readonly ns: number; readonly plainNs: number }

const warmUpPasses = 3
/** 4,000 jobs so many times over are one sample: some milliseconds, well above what a clock can tell. */
const passes = 2

type Loading = Pick<PolicyFigures, 'load_ms' | 'load_max_pause_ms' | 'load_max_work_ms'>

/** The evaluator beside JSON.parse of the same jobs, at every size, and beside other engines. */
export async function runPolicy(options: PolicyOptions): Promise<PolicyFigures> {
  const { say } = options
  const indexMs: Record<string, number> = {}
  const grounds = options.sizes.map((rules): Ground => {
    const workload = makeWorkload(rules)
    const beginMs = performance.now()
    const policy = compilePolicy([workload.file], '')
    indexMs[rules] = rounded(performance.now() - beginMs)
    return { ...workload, rules, policy, plain: { ...policy, merge: new Merge(policy.rules, 0) } }
  })
  const samples = grounds.map((): Sample[] => [])
  for (const ground of grounds) for (let pass = 0; pass < warmUpPasses; pass++) sample(ground)
  for (let round = 0; round < options.rounds; round++)
    // All sizes in every round: what disturbs one disturbs the others.
    for (const [at, ground] of grounds.entries()) samples[at]?.push(sample(ground))
  const loading = await loadAll(grounds, say)
  const peers: PolicyFigures['peers'] = {}
  for (const rules of options.peerSizes) {
    say(`policy: other engines at ${rules} rules`)
    for (const [name, figure] of await peersAt(rules, options.peerWithinMs))
      (peers[name] ??= {})[rules] = figure
  }
  return { clock: 'cpu', ...figuresOf(grounds, samples), index_ms: indexMs, ...loading, peers }
}

async function loadAll(grounds: readonly Ground[], say: PolicyOptions['say']): Promise<Loading> {
  const loading: Loading = { load_ms: {}, load_max_pause_ms: {}, load_max_work_ms: {} }
  const deciding = grounds[0]
  if (deciding === undefined) return loading
  for (const { rules, file } of grounds) {
    say(`policy: loading ${rules} rules`)
    const { loadMs, maxPauseMs, maxWorkMs } = await measureLoad(file, deciding)
    loading.load_ms[rules] = loadMs
    loading.load_max_pause_ms[rules] = maxPauseMs
    if (maxWorkMs !== null) loading.load_max_work_ms[rules] = maxWorkMs
  }
  return loading
}

function sample({ jobs, texts, policy, plain }: Ground): Sample {
  const perJob = (work: (at: number) => unknown): number => {
    const begin = process.cpuUsage()
    for (let pass = 0; pass < passes; pass++) for (let at = 0; at < jobs.length; at++) kept = work(at)
    const { user, system } = process.cpuUsage(begin)
    return ((user + system) * 1e3) / (jobs.length * passes)
  }
  const facts = { nowMs: 0, granted: [] }
  return {
    parseNs: perJob((at) => JSON.parse(texts[at] as string)),
    ns: perJob((at) => evaluate(policy, jobs[at] as (typeof jobs)[number], facts)),
    plainNs: perJob((at) => evaluate(plain, jobs[at] as (typeof jobs)[number], facts)),
  }
}

/** What was computed last, so that no compiler can leave the work out. */
export let kept: unknown

function figuresOf(
  grounds: readonly Ground[],
  samples: readonly (readonly Sample[])[],
): Omit<PolicyFigures, 'clock' | 'peers' | 'index_ms' | keyof Loading> {
  const bySize = (
    of: (ground: Ground, samples: readonly Sample[]) => number,
    digits: number,
  ): Record<string, number> =>
    Object.fromEntries(
      grounds.map((ground, at) => [ground.rules, rounded(of(ground, samples[at] ?? []), digits)]),
    )
  const smallest = samples[0] ?? []
  const matched = ({ policy, jobs }: Ground): readonly number[] =>
    jobs.map((job) => evaluate(policy, job, { nowMs: 0, granted: [] }).decision.matched.length)
  return {
    json_parse_ns: rounded(median(samples.flat().map(({ parseNs }) => parseNs))),
    ns_per_decision: bySize((_, here) => median(here.map(({ ns }) => ns)), 0),
    ns_without_memo: bySize((_, here) => median(here.map(({ plainNs }) => plainNs)), 0),
    ratio: bySize((_, here) => median(here.map(({ ns, parseNs }) => ns / parseNs)), 3),
    ratio_without_memo: bySize((_, here) => median(here.map(({ plainNs, parseNs }) => plainNs / parseNs)), 3),
    growth: bySize((_, here) => median(here.map(({ ns }, round) => ns / (smallest[round]?.ns ?? NaN))), 2),
    matches_per_job: bySize(
      (ground) => matched(ground).reduce((sum, count) => sum + count, 0) / ground.jobs.length,
      2,
    ),
    no_match_share: bySize(
      (ground) => matched(ground).filter((count) => count === 0).length / ground.jobs.length,
      2,
    ),
  }
}

async function peersAt(rules: number, withinMs: number): Promise<[string, PeerFigure][]> {
  const order: PeerOrder = { rules, withinMs }
  const found: [string, PeerFigure][] = []
  // Cedar's module brings down this version of V8 when it is inlined into a function that is optimised.
  const child = startChild<object, PeerWord>('policy-peer-process', order, [
    '--no-turbo-inline-js-wasm-calls',
  ])
  child.onWord((word) => {
    if (word.type === 'figure') found.push([word.name, word.figure])
  })
  try {
    const failed = child.word('failed', peersWithinMs).then(({ why }) => Promise.reject(new Error(why)))
    failed.catch(() => undefined)
    await Promise.race([child.word('done', peersWithinMs), failed])
  } finally {
    await child.stop()
  }
  return found
}

/** All engines at one size, reading the rules included. */
const peersWithinMs = 600_000
