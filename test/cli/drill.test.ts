import { execFile, spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'

import type { TicketFile } from '../../examples/tickets.ts'
import { startDev, type Dev } from '../helpers/dev.ts'
import { runsOn } from '../helpers/which-server.ts'

type Drilled = {
  code: number
  stdout: string
  stderr: string
  report: { ok: boolean; trace_id: string; steps: { name: string; ok: boolean; evidence: string }[] }
}

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-drill-test-'))
})
afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

/** Runs `npm run drill -- --json ...` without npm, on the server of this vitest project. */
function drill(args: readonly string[], more: readonly string[] = ['--json']): Promise<Drilled> {
  const env = { ...process.env, SLUICE_NATS_SERVER: process.env['SLUICE_TEST_NATS_BINARY'], TMPDIR: folder }
  const command = [resolve('cli/bootstrap.mjs'), 'drill', ...more, ...args]
  return new Promise((done) => {
    const child = execFile(process.execPath, command, { env, cwd: folder }, (_error, stdout, stderr) => {
      const report =
        more.includes('--json') && stdout !== '' ? (JSON.parse(stdout) as Drilled['report']) : undefined
      const none = { ok: false, trace_id: '', steps: [] }
      done({ code: child.exitCode ?? 1, stdout, stderr, report: report ?? none })
    })
  })
}

async function withDev(
  args: readonly string[],
  act: (dev: Dev, dataDir: string) => Promise<void>,
): Promise<void> {
  const dataDir = await mkdtemp(join(folder, 'dev-'))
  const dev = await startDev(['--data-dir', dataDir, ...args], { cwd: folder })
  try {
    await dev.ready
    await act(dev, dataDir)
  } finally {
    dev.child.kill('SIGTERM')
    await dev.exited
  }
}

const failed = (drilled: Drilled): string[] =>
  drilled.report.steps.filter(({ ok }) => !ok).map(({ name, evidence }) => `${name}: ${evidence}`)

test(
  'without a sluice dev the drill brings its own: every step holds, with its evidence',
  { timeout: 90_000 },
  async () => {
    const drilled = await drill(['--data-dir', join(folder, 'nothing-here')])
    expect(failed(drilled)).toEqual([])
    expect(drilled).toMatchObject({ code: 0, report: { ok: true } })
    const { steps } = drilled.report
    expect(steps.length).toBeGreaterThanOrEqual(20)
    for (const { evidence } of steps)
      expect(evidence).toMatch(/Permissions Violation|AUDIT \d+|^4\d\d [a-z_]+: /)
  },
)

test(
  'beside a sluice dev it plays there, leaves its tickets as they were, and can be played again',
  { timeout: 120_000 },
  async () => {
    await withDev([], async (_dev, dataDir) => {
      const first = await drill(['--data-dir', dataDir])
      expect(failed(first)).toEqual([])
      const { tickets } = JSON.parse(await readFile(join(dataDir, 'tickets.json'), 'utf8')) as TicketFile
      expect(Object.values(tickets).flatMap(({ comments }) => comments)).toEqual([])
      const second = await drill(['--data-dir', dataDir], [])
      expect(second).toMatchObject({
        code: 0,
        stderr: expect.stringContaining(`against the sluice dev in ${dataDir}`) as string,
      })
      expect(second.stdout).toMatch(/^✓ an agent that publishes to a worker/)
      expect(second.stdout).toMatch(/^trace drill-/m)
      expect(second.stdout).toMatch(/RECEIVED > PARKED +REQUIRE_APPROVAL by require-approval-prod-write/)
      expect(second.stdout).toMatch(/all \d+ steps hold\n$/)
      expect(second.stdout).not.toContain(['4111', '1111', '1111', '1111'].join(' '))
    })
  },
)

test(
  'a policy that lets everything through fails the drill, and the steps say which',
  { timeout: 120_000 },
  async ({ skip }) => {
    skip(runsOn('debian'), 'it is the policy that is told here, not the server')
    const policy = join(folder, 'open.yaml')
    await writeFile(policy, 'version: v1\nrules:\n  - { id: allow-all, match: {}, decision: allow }\n')
    await withDev(['--policy', policy], async (_dev, dataDir) => {
      const drilled = await drill(['--data-dir', dataDir])
      expect(drilled.code).toBe(1)
      expect(drilled.report.ok).toBe(false)
      const missed = failed(drilled).join('\n')
      expect(missed).toMatch(/tagged destructive is denied.*: it is DISPATCHED by allow-all/)
      expect(missed).toMatch(/prod write is parked.*: it is DISPATCHED/)
      // What the server refuses it refuses under any policy.
      expect(missed).not.toContain('refused by the server: the server let')
    })
  },
)

test(
  'the ready.json of a sluice dev that was killed is not believed, whoever answers at its address',
  { timeout: 120_000 },
  async ({ skip }) => {
    skip(runsOn('current'), 'it is about a file and a process, not about the server')
    await withDev([], async (dev) => {
      const ready = await dev.ready
      const stale = await mkdtemp(join(folder, 'stale-'))
      const gone = spawnSync('true').pid
      await writeFile(join(stale, 'ready.json'), JSON.stringify({ ...ready, pid: gone }))
      const drilled = await drill(['--data-dir', stale])
      expect(drilled.stderr).toContain('one is started for the drill alone')
      expect(failed(drilled)).toEqual([])
    })
  },
)

test('an option that does not exist is a matter of usage', async () => {
  expect(await drill(['--jsn'], [])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--json') as string,
  })
})
