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
    const parent = process.ppid
    setInterval(() => {
      if (process.ppid !== parent) resolve()
    }, lookEveryMs).unref()
  })
}
