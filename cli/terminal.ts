import { buffer } from 'node:stream/consumers'

/** What a command reads and writes: results go to `out`, everything else to `err`. */
export type Terminal = {
  readonly env: NodeJS.ProcessEnv
  readonly colour: boolean
  /** How many characters fit on a line; a pipe has room for a table. */
  readonly columns: number
  readonly nowMs: () => number
  out(line: string): void
  err(line: string): void
  /** All of standard input. */
  input(): Promise<Uint8Array>
  /** Aborted when the command should end by itself. */
  readonly signal: AbortSignal
}

const columnsMin = 40
const columnsOfPipe = 200

/** The terminal of this process. */
export function processTerminal(): Terminal {
  const { env } = process
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  return {
    env,
    colour: process.stdout.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb',
    columns: Math.max(columnsMin, process.stdout.columns ?? columnsOfPipe),
    nowMs: Date.now,
    out: (line) => process.stdout.write(`${line}\n`),
    err: (line) => process.stderr.write(`${line}\n`),
    input: () => buffer(process.stdin),
    signal: stop.signal,
  }
}
