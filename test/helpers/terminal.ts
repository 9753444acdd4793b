import type { Terminal } from '../../cli/terminal.ts'

/** A terminal without colours that keeps what was written to it. */
export type TestTerminal = Terminal & {
  readonly outLines: string[]
  readonly errLines: string[]
  stop(): void
}

export function testTerminal(env: NodeJS.ProcessEnv = {}, input = '', columns = 200): TestTerminal {
  const outLines: string[] = []
  const errLines: string[] = []
  const stop = new AbortController()
  return {
    env,
    colour: false,
    columns,
    nowMs: Date.now,
    outLines,
    errLines,
    out: (line) => outLines.push(...line.split('\n')),
    err: (line) => errLines.push(...line.split('\n')),
    input: () => Promise.resolve(new TextEncoder().encode(input)),
    signal: stop.signal,
    stop: () => stop.abort(),
  }
}
