import { execFile } from 'node:child_process'
import { expect, test } from 'vitest'

type Report = { readonly ok: boolean; readonly jobs: number; readonly dispatches: number }

test('ten seconds of hostile input leave two gateways standing, and nothing false on record', async () => {
  const args = ['cli/bootstrap.mjs', 'soak', '--minutes', '0.16', '--json']
  const { stdout, stderr } = await new Promise<{ stdout: string; stderr: string }>((resolve) =>
    execFile(process.execPath, args, (_error, out, err) => resolve({ stdout: out, stderr: err })),
  )
  const report = JSON.parse(stdout === '' ? 'null' : stdout) as Report | null
  expect(report, stderr).toMatchObject({ ok: true })
  expect(report?.jobs).toBeGreaterThan(20)
  expect(report?.dispatches).toBeGreaterThan(5)
}, 300_000)
