import { readFile } from 'node:fs/promises'
import { loadPolicy } from '../../policy/load.ts'
import type { Problem } from '../../policy/problem.ts'
import type { Policy } from '../../policy/rule.ts'
import { loadPolicyBeside } from './load.ts'
import { watchFiles } from '../config/watched-files.ts'

/** A policy and the text that it was made of. */
export type PolicyText = { readonly policy: Policy; readonly text: string }

/** The newest policy of the file that loads. A file that stops loading changes nothing but what `reloadOk` says. */
export type PolicyFile = {
  current(): PolicyText
  reloadOk(): boolean
  reload(): Promise<void>
  stop(): void
}

export type PolicyChange =
  | { readonly type: 'loaded'; readonly loaded: PolicyText }
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

/** A policy that could not be kept is tried again after this. */
const keepAgainMs = 30_000

/**
 * Loads the file and follows it. A policy comes into force only when `keep` has stored it, because nobody could read later what
 * its decisions rest on.
 */
export async function openPolicyFile(
  file: string,
  keep: (loaded: PolicyText) => Promise<void>,
  onChange: (change: PolicyChange) => void,
): Promise<PolicyFile> {
  const text = await readFile(file, 'utf8')
  const first = loadPolicy(text, file)
  if (!first.ok) throw new PolicyError(file, first.problems)
  let current: PolicyText = { policy: first.policy, text }
  let reloadOk = true
  let loading: Promise<void> = Promise.resolve()
  let again: NodeJS.Timeout | undefined
  const load = async (): Promise<void> => {
    const newer = await readFile(file, 'utf8')
    const loaded = await loadPolicyBeside([{ name: file, text: newer }])
    const refuse = (problems: readonly Problem[]): void => {
      reloadOk = false
      onChange({ type: 'refused', problems })
    }
    if (!loaded.ok) return refuse(loaded.problems)
    const { snapshot, sourceHash } = current.policy
    const next: PolicyText = { policy: loaded.policy, text: newer }
    if (loaded.policy.snapshot === snapshot && loaded.policy.sourceHash === sourceHash) {
      reloadOk = true
      return
    }
    try {
      await keep(next)
    } catch (error) {
      // The file may stay as it is: whatever kept it from being kept may pass.
      clearTimeout(again)
      again = setTimeout(() => void reload().catch(() => undefined), keepAgainMs).unref()
      return refuse([{ code: 'policy-not-kept', message: (error as Error).message }])
    }
    reloadOk = true
    current = next
    onChange({ type: 'loaded', loaded: next })
  }
  const reload = (): Promise<void> => {
    // One after the other: the newest text must be the one that stays.
    const next = loading.catch(() => undefined).then(load)
    loading = next
    return next
  }
  const watched = await watchFiles([file], () => reload().catch(() => void (reloadOk = false)))
  const stop = (): void => {
    clearTimeout(again)
    watched.stop()
  }
  return { current: () => current, reloadOk: () => reloadOk, reload, stop }
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
