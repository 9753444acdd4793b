import { execFile } from 'node:child_process'
import { resolve } from 'node:path'

/** How a command ended and what it said. */
export type Ran = { code: number; stdout: string; stderr: string }

/** `sluice ...` as a process of what `ensureBuilt` compiled, with nothing of our own environment that could set anything. */
export function sluice(
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string } = {},
): Promise<Ran> {
  const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], ...options.env }
  return new Promise((done) => {
    const main = resolve('dist/cli/main.js')
    execFile(
      process.execPath,
      [main, ...args],
      { env, cwd: options.cwd ?? resolve('.') },
      (error, stdout, stderr) => {
        done({ code: error === null ? 0 : Number(error.code), stdout, stderr })
      },
    )
  })
}
