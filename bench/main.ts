import { argv, env } from 'node:process'
import { pathToFileURL } from 'node:url'

import { readArguments } from '../cli/arguments.ts'
import { findNats } from '../cli/dev/nats-binary.ts'
import { exitCodes } from '../cli/exit-codes.ts'
import { approvalsTable, runApprovals } from './approvals.ts'
import { benchPolicy } from './policy-suite.ts'
import { runPipeline } from './pipeline.ts'
import { pipelineMarkdown, writeTable } from './document.ts'
import { describeMachine, describeVersions, pipelineTable } from './report.ts'
import type { Load } from './round.ts'
import { runTimers, timersTable } from './timers.ts'

const help = `usage: npm run bench -- [pipeline] [policy] [approvals] [timers] [--json] [options]

pipeline   jobs from an agent's publish to a worker's receipt: through the gate, through the two bare writes,
           through a relay that stores nothing; one after the other in every round, medians of the rounds
policy     the evaluator at 10 to 100000 rules beside JSON.parse of the same jobs, and beside other engines
           with the same rules and jobs; one after the other in every round, medians of the rounds
approvals  the first page of the list, resolving one and a restart, while many jobs wait for a person
timers     how late parked jobs expire, all at about the same time and beside a steady load

  --json             one line of JSON on standard output
  --rounds N         default 5
  --jobs N           measured jobs per round, default 20000
  --warm-up N        jobs before them, default 10000
  --open-jobs N      jobs of the latency phase, default 2000
  --open-rate N      and how many of them a second, default 1000
  --window N         jobs on their way at most, default 4096
  --cpu-prof FOLDER  a processor profile of each governed gateway
  --sizes N,N        policy: numbers of rules, default 10,100,1000,10000,100000
  --peer-sizes N,N   policy: those at which other engines run as well, default 10,100,1000,10000; 0 is none
  --parked N         approvals, timers: jobs that wait for a person, default 10000
  --calls N          approvals: pages listed and jobs resolved, default 500
  --steady N         timers: other jobs a second, default 500
  --write            pipeline, policy: put the table into docs/benchmarks.md`

const say = (line: string): void => void process.stderr.write(`${line}\n`)

/** The bench as a command; progress on standard error, figures on standard output. */
export async function run(args: readonly string[]): Promise<number> {
  const given = readArguments(args, {
    json: 'flag',
    help: 'flag',
    rounds: 'text',
    jobs: 'text',
    'warm-up': 'text',
    'open-jobs': 'text',
    'open-rate': 'text',
    window: 'text',
    'cpu-prof': 'text',
    sizes: 'text',
    'peer-sizes': 'text',
    parked: 'text',
    steady: 'text',
    calls: 'text',
    write: 'flag',
  })
  const problem = given.ok ? unknownSuite(given.rest) : given.problem
  if (!given.ok || problem !== undefined) {
    say(`${problem}\n\n${help}`)
    return exitCodes.usage
  }
  if (given.flags.has('help')) {
    console.log(help)
    return exitCodes.ok
  }
  const read = readLoad(given.text)
  if (!read.ok) {
    say(`${read.problem}\n\n${help}`)
    return exitCodes.usage
  }
  const suites = given.rest.length === 0 ? names : given.rest
  const policy = suites.includes('policy')
    ? await benchPolicy(given, suites.length > 1, say).catch(whyNot)
    : null
  if (policy === undefined) return exitCodes.failed
  if (suites.every((name) => name === 'policy')) return exitCodes.ok
  const found = await findNats(env, say)
  if (!found.ok) {
    for (const line of found.lines) say(line)
    return exitCodes.unreachable
  }
  const machine = describeMachine()
  const { binary } = found.nats
  const profileDir = given.text['cpu-prof']
  const pipeline = suites.includes('pipeline')
    ? await runPipeline({ ...read, binary, profileDir, say }).catch(whyNot)
    : null
  if (pipeline === undefined) return exitCodes.failed
  const { parked, calls, steadyPerSec } = read
  const approvals = suites.includes('approvals')
    ? await runApprovals({ binary, profileDir, parked, calls, say }).catch(whyNot)
    : null
  if (approvals === undefined) return exitCodes.failed
  const timers = suites.includes('timers')
    ? await runTimers({ binary, profileDir, parked, steadyPerSec, say }).catch(whyNot)
    : null
  if (timers === undefined) return exitCodes.failed
  const versions = await describeVersions(found.nats)
  if (given.flags.has('write') && pipeline !== null)
    await writeTable('pipeline', pipelineMarkdown(pipeline, machine, versions))
  if (given.flags.has('json')) {
    const figures = Object.entries({ pipeline, approvals, timers, policy }).filter(
      ([, suite]) => suite !== null,
    )
    console.log(JSON.stringify({ ...Object.fromEntries(figures), machine, versions }))
  } else {
    console.log(
      `${machine.cpu}, ${machine.cores} cores; Node ${versions.node}, nats-server ${versions.nats_server}\n`,
    )
    if (pipeline !== null) console.log(`${pipelineTable(pipeline)}\n`)
    if (approvals !== null) console.log(`${approvalsTable(approvals)}\n`)
    if (timers !== null) console.log(timersTable(timers))
  }
  return exitCodes.ok
}

/** Figures of a run in which a job was lost or came twice are no figures. */
function whyNot(error: unknown): undefined {
  const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : ''
  say(`bench: ${error instanceof Error ? error.message : String(error)}${cause}`)
}

const names: readonly string[] = ['pipeline', 'policy', 'approvals', 'timers']

function unknownSuite(rest: readonly string[]): string | undefined {
  const unknown = rest.find((name) => !names.includes(name))
  return unknown === undefined ? undefined : `there is no suite ${unknown}`
}

const defaults = {
  rounds: 5,
  jobs: 20_000,
  'warm-up': 10_000,
  'open-jobs': 2_000,
  'open-rate': 1_000,
  window: 4_096,
  parked: 10_000,
  steady: 500,
  calls: 500,
}
const countMax = 2_000_000
/** The worker says only every so often what it got; a smaller window would run dry in between. */
const windowMin = 256

type Waiting = { parked: number; calls: number; steadyPerSec: number }

function readLoad(
  text: Readonly<Record<string, string>>,
): ({ ok: true; rounds: number; load: Load } & Waiting) | { ok: false; problem: string } {
  const values = { ...defaults }
  for (const name of Object.keys(defaults) as (keyof typeof defaults)[]) {
    const value = Number(text[name] ?? defaults[name])
    const least = name === 'window' ? windowMin : 1
    if (!Number.isInteger(value) || value < least || value > countMax) {
      return { ok: false, problem: `--${name} must be a whole number from ${least} to ${countMax}` }
    }
    values[name] = value
  }
  return {
    ok: true,
    rounds: values.rounds,
    parked: values.parked,
    calls: values.calls,
    steadyPerSec: values.steady,
    load: {
      warmUp: values['warm-up'],
      jobs: values.jobs,
      window: values.window,
      openPerSec: values['open-rate'],
      openJobs: values['open-jobs'],
    },
  }
}

if (import.meta.url === pathToFileURL(argv[1] ?? '').href) process.exit(await run(argv.slice(2)))
