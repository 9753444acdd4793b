import { readFile } from 'node:fs/promises'
import { loadPolicyFiles, type PolicySource } from '../../policy/load.ts'
import type { Problem } from '../../policy/problem.ts'
import type { Policy } from '../../policy/rule.ts'
import { keptText } from './kept-text.ts'
import { loadPolicyBeside } from './load.ts'
import { filesOf } from '../config/settings.ts'
import { watchFiles } from '../config/watched-files.ts'

/** A policy and the text that it was made of, as it is kept. */
export type PolicyText = { readonly policy: Policy; readonly text: string }

/** The newest policy of the files that loads. Files that stop loading change nothing but what `reloadOk` says. */
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

/** A policy that could not be kept is tried again after this, unless it is said otherwise. */
const keepAgainMsUsual = 30_000

/**
 * Loads a policy and follows its files, which are written with commas between them. A policy comes into force only when `keep` has stored it, because nobody could read later what
 * its decisions rest on.
 */
export async function openPolicyFile(
  file: string,
  keep: (loaded: PolicyText) => Promise<void>,
  onChange: (change: PolicyChange) => void,
  keepAgainMs = keepAgainMsUsual,
): Promise<PolicyFile> {
  const files = filesOf(file)
  const sources = await readSources(files)
  const first = loadPolicyFiles(sources)
  if (!first.ok) throw new PolicyError(file, first.problems)
  let current: PolicyText = { policy: first.policy, text: keptText(sources) }
  let reloadOk = true
  let loading: Promise<void> = Promise.resolve()
  let again: NodeJS.Timeout | undefined
  const load = async (): Promise<void> => {
    const refuse = (problems: readonly Problem[]): void => {
      reloadOk = false
      onChange({ type: 'refused', problems })
    }
    const newer = await readSources(files).catch((error: NodeJS.ErrnoException) => error)
    if (newer instanceof Error) return refuse([{ code: 'policy-unreadable', message: unreadable(newer) }])
    const loaded = await loadPolicyBeside(newer)
    if (!loaded.ok) return refuse(loaded.problems)
    const { snapshot, sourceHash } = current.policy
    const next: PolicyText = { policy: loaded.policy, text: keptText(newer) }
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
  const watched = await watchFiles(files, () => reload().catch(() => void (reloadOk = false)))
  const stop = (): void => {
    clearTimeout(again)
    watched.stop()
  }
  return { current: () => current, reloadOk: () => reloadOk, reload, stop }
}

function readSources(files: readonly string[]): Promise<readonly PolicySource[]> {
  return Promise.all(files.map(async (name) => ({ name, text: await readFile(name, 'utf8') })))
}

/** The path is in the configuration; here its name would say nothing more. */
function unreadable({ code = 'it failed' }: NodeJS.ErrnoException): string {
  return `a file of the policy cannot be read: ${code}`
}

/** `policy.yaml:3:15: unknown decision 'denny' (did you mean 'deny'?)`. */
export function describe(
  file: string,
  problem: {
    readonly message: string
    readonly line?: number | undefined
    readonly column?: number | undefined
    readonly file?: string | undefined
  },
): string {
  const name = problem.file ?? file
  const place = problem.line === undefined ? name : `${name}:${problem.line}:${problem.column ?? 1}`
  return `${place}: ${problem.message}`
}
