import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { spawnLeashed } from '../../cli/dev/leash.ts'
import type { Ready } from './dev.ts'

/** Somebody who has done what the README says, and now pastes what the pages show. */
export type Reader = {
  readonly ready: Ready
  /** Runs a script as it stands, except that an HTTP error is an error and this system's port stands for 8081. */
  bash(script: string): Promise<string>
  /** Undoes the kill switch: the next page is read by somebody who has not used it. */
  liftStops(): Promise<void>
  stop(): Promise<void>
}

const scriptTimeoutMs = 60_000
const prelude = [
  'set -euo pipefail',
  'curl() { command curl --fail-with-body "$@"; }',
  // npx takes its time to find out that `sluice` is this very package; that it does has a test of its own.
  'npx() { if [ "$1" = sluice ]; then shift; node cli/sluice.mjs "$@"; else command npx "$@"; fi; }',
].join('\n')

/** Starts a `sluice dev` on whatever server there is: that it works on each has tests of its own. */
export async function openReader(): Promise<Reader> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-reader-'))
  let said: (line: string) => void = () => undefined
  const up = new Promise<string>((resolve) => (said = resolve))
  const dev = await spawnLeashed({
    command: process.execPath,
    args: ['cli/bootstrap.mjs', 'dev', '--json', '--data-dir', join(folder, 'data')],
    env: process.env,
    onLine: (line) => line.startsWith('{"ready"') && said(line),
  })
  const ended = dev.exited.then((code) => `sluice dev ended with ${code}`)
  const ready = JSON.parse(await Promise.race([up, ended])) as Ready
  return {
    ready,
    bash: async (script) => {
      const text = script.replaceAll('localhost:8081', new URL(ready.http_url).host)
      const env = { ...process.env, SLUICE_DATA_DIR: ready.data_dir }
      const options = { env, timeout: scriptTimeoutMs }
      return (await promisify(execFile)('bash', ['-c', `${prelude}\n${text}`], options)).stdout
    },
    liftStops: () => liftStops(`${ready.http_url}/api/v1/control`),
    stop: async () => {
      await dev.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function liftStops(control: string): Promise<void> {
  const { stops } = (await (await fetch(control)).json()) as { stops: { id: string; state: string }[] }
  for (const { id } of stops.filter(({ state }) => state !== 'resumed')) {
    const lifted = await fetch(`${control}/resume`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ id, stage: 'resumed', reason: 'the block is over' }),
    })
    if (!lifted.ok) throw new Error(await lifted.text())
  }
}
