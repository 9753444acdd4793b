import { spawn } from 'node:child_process'
import { type Readable } from 'node:stream'

/** A child process that cannot outlive this one. */
export type Leashed = {
  pid: number
  /** Resolves with what ended it, a signal as 128 + its number, as shells say it. */
  exited: Promise<number>
  signal(name: 'SIGTERM' | 'SIGKILL' | 'SIGHUP'): void
  /** Ends it as gently as it lets itself be ended: SIGTERM, after `graceMs` SIGKILL. Resolves when it is gone. */
  stop(graceMs?: number): Promise<void>
}

export type LeashOptions = {
  command: string
  args: readonly string[]
  env: NodeJS.ProcessEnv
  cwd?: string
  /** Receives each line of the child's standard output and error. */
  onLine?: (line: string) => void
}

/**
 * The shell that stands between: it runs the command, says its process id on fd 3, and holds the other end of our
 * pipe as its standard input. However we die, SIGKILL included, the pipe closes and the command is ended with us.
 */
const leash = `exec 4<&0
"$@" 3>&- 4<&- </dev/null &
child=$!
echo "$child" >&3
exec 3>&-
{
  read -r _ <&4
  kill -TERM "$child" 2>/dev/null
  left=50
  while [ "$left" -gt 0 ] && kill -0 "$child" 2>/dev/null; do sleep 0.2; left=$((left - 1)); done
  kill -KILL "$child" 2>/dev/null
} >/dev/null 2>&1 &
watch=$!
wait "$child"
code=$?
kill "$watch" 2>/dev/null
exit "$code"`

const defaultGraceMs = 10_000

/** Starts a command on a leash. Detached, so that Ctrl-C reaches us alone and we say in which order things end. */
export async function spawnLeashed(options: LeashOptions): Promise<Leashed> {
  const shell = spawn('/bin/sh', ['-c', leash, 'sluice-leash', options.command, ...options.args], {
    env: options.env,
    cwd: options.cwd,
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  })
  // A pipe to a shell that is gone is no news: `exited` tells it.
  shell.stdin.on('error', () => undefined)
  for (const stream of [shell.stdout, shell.stderr]) readLines(stream, options.onLine ?? (() => undefined))
  const exited = new Promise<number>((resolve, reject) => {
    shell.once('error', reject)
    shell.once('exit', (code) => resolve(code ?? 137))
  })
  const pid = await new Promise<number>((resolve, reject) => {
    readLines(shell.stdio[3] as Readable, (line) => resolve(Number(line)))
    exited.then((code) => reject(new Error(`${options.command} ended with ${code} before it began`)), reject)
  })
  const signal = (name: 'SIGTERM' | 'SIGKILL' | 'SIGHUP'): void => {
    // Once the shell is gone the number may belong to somebody else.
    if (shell.exitCode !== null || shell.signalCode !== null) return
    try {
      process.kill(pid, name)
    } catch {
      // It ended a moment ago.
    }
  }
  return {
    pid,
    exited,
    signal,
    stop: async (graceMs = defaultGraceMs) => {
      signal('SIGTERM')
      const timer = setTimeout(() => signal('SIGKILL'), graceMs)
      await exited
      clearTimeout(timer)
    },
  }
}

function readLines(stream: Readable, onLine: (line: string) => void): void {
  let rest = ''
  stream.setEncoding('utf8')
  stream.on('error', () => undefined)
  stream.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) onLine(line)
  })
}
