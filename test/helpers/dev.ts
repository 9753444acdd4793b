import { spawn, type ChildProcess } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'

import type { Ready } from '../../cli/dev/ready.ts'
import { ensureBuilt } from '../../cli/setup.mjs'

export type { Ready }

/** A `sluice dev` as a process of its own. */
export type Dev = {
  child: ChildProcess
  /** Everything on standard output and on standard error so far. */
  stdout(): string
  stderr(): string
  /** The exit code; a signal as 128 + its number. */
  exited: Promise<number>
  /** The ready line; rejects, with what was said on standard error, if the process ends first. */
  ready: Promise<Ready>
}

/**
 * Starts `npm start -- --json ...` without npm, on the server of this vitest project. Compiles first if a source is
 * newer, so that what runs is what is being tested.
 */
export async function startDev(
  args: readonly string[],
  options: { cwd: string; env?: NodeJS.ProcessEnv },
): Promise<Dev> {
  await ensureBuilt()
  const env = { ...process.env, SLUICE_NATS_SERVER: process.env['SLUICE_TEST_NATS_BINARY'], ...options.env }
  const child = spawn(process.execPath, [resolve('cli/bootstrap.mjs'), 'dev', '--json', ...args], {
    cwd: options.cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const exited = new Promise<number>((done) => child.once('close', (code) => done(code ?? 128)))
  const ready = new Promise<Ready>((done, fail) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      const end = stdout.indexOf('\n')
      if (end >= 0) done(JSON.parse(stdout.slice(0, end)) as Ready)
    })
    void exited.then((code) =>
      fail(new Error(`sluice dev ended with ${code} before it was ready:\n${stderr}`)),
    )
  })
  // A test that is about a start that fails looks at `exited` and not at this.
  ready.catch(() => undefined)
  return { child, stdout: () => stdout, stderr: () => stderr, exited, ready }
}

/** Whether a process is there; one that has ended and was not yet waited for is not. */
export async function isAlive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (stat !== undefined) return !/\) Z /.test(stat)
  if (process.platform === 'linux') return false
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
