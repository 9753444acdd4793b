import { readFile, stat } from 'node:fs/promises'
import type { Problem } from '../policy/problem.ts'
import { loadPolicy } from '../policy/load.ts'
import type { Policy } from '../policy/rule.ts'

/** The policy in force. A file that stops loading changes nothing but what `reloadOk` says. */
export type PolicyFile = { current(): Policy; reloadOk(): boolean; reload(): Promise<void>; stop(): void }

export type PolicyChange =
  | { readonly type: 'activated'; readonly policy: Policy }
  | { readonly type: 'refused'; readonly problems: readonly Problem[] }

/** Thrown at start only: without a policy there is no gateway. */
export class PolicyError extends Error {
  readonly problems: readonly Problem[]
  constructor(file: string, problems: readonly Problem[]) {
    super(problems.map((problem) => describe(file, problem)).join('\n'))
    this.name = 'PolicyError'
    this.problems = problems
  }
}

const lookEveryMs = 1_000

/** Loads the file, then looks once a second whether it changed; swapped whole, so a job keeps the policy it started with. */
export async function openPolicyFile(
  file: string,
  onChange: (change: PolicyChange) => void,
): Promise<PolicyFile> {
  const first = loadPolicy(await readFile(file, 'utf8'), file)
  if (!first.ok) throw new PolicyError(file, first.problems)
  let current = first.policy
  let reloadOk = true
  let seen = await stamp(file)
  const reload = async (): Promise<void> => {
    const loaded = loadPolicy(await readFile(file, 'utf8'), file)
    reloadOk = loaded.ok
    if (!loaded.ok) return onChange({ type: 'refused', problems: loaded.problems })
    if (loaded.policy.snapshot === current.snapshot && loaded.policy.sourceHash === current.sourceHash) return
    current = loaded.policy
    onChange({ type: 'activated', policy: current })
  }
  const look = async (): Promise<void> => {
    const now = await stamp(file)
    if (now === seen || now === undefined) return
    seen = now
    await reload()
  }
  const timer = setInterval(() => void look().catch(() => (reloadOk = false)), lookEveryMs)
  timer.unref()
  return { current: () => current, reloadOk: () => reloadOk, reload, stop: () => clearInterval(timer) }
}

async function stamp(file: string): Promise<string | undefined> {
  try {
    const { mtimeMs, size, ino } = await stat(file)
    return `${mtimeMs}:${size}:${ino}`
  } catch {
    return undefined
  }
}

/** `policy.yaml:3:15: unknown decision 'denny' (did you mean 'deny'?)`. */
export function describe(
  file: string,
  problem: {
    readonly message: string
    readonly line?: number | undefined
    readonly column?: number | undefined
  },
): string {
  const place = problem.line === undefined ? file : `${file}:${problem.line}:${problem.column ?? 1}`
  return `${place}: ${problem.message}`
}
