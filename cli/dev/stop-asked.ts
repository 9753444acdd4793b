import { readFileSync } from 'node:fs'

const lookEveryMs = 1_000

/**
 * Resolves when we are asked to end: at the first SIGINT or SIGTERM, or when npm, that started us, was killed without a
 * chance to tell us. A second signal ends the process at once; the leashes end the children.
 */
export function stopAsked(env: NodeJS.ProcessEnv): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        resolve()
        process.once(signal, () => process.exit(1))
      })
    }
    if (env['npm_lifecycle_event'] === undefined) return
    const before = ancestors()
    setInterval(() => {
      if (ancestors() !== before) resolve()
    }, lookEveryMs).unref()
  })
}

/** Our parent and its parent: between npm and us there may be a shell, which does not end with npm. */
function ancestors(): string {
  return `${process.ppid} ${parentOf(process.ppid) ?? ''}`
}

/** Known on Linux only; elsewhere a killed npm is noticed when nothing stands between. */
function parentOf(pid: number): string | undefined {
  try {
    // The name, in parentheses, may hold anything; behind it come the state and the parent.
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[1]
  } catch {
    return undefined
  }
}
