import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

import { jobBytes, numberOf, sentUsOf } from '../bench/job-bytes.ts'
import { median, quantile } from '../bench/statistics.ts'
import { parseJob } from '../policy/job.ts'

const run = promisify(execFile)
const bench = (...args: string[]) =>
  run(process.execPath, ['cli/bootstrap.mjs', 'bench', ...args], { timeout: 110_000 })

type Figures = { pipeline: Record<string, unknown>; machine: object; versions: object }

// Side by side, because one of them mostly waits; nobody looks at what is measured here.
test.concurrent('a small run counts every job, finds each in AUDIT and prints one line of figures', async () => {
  const few = ['--rounds', '1', '--warm-up', '20', '--jobs', '300', '--open-jobs', '40', '--open-rate', '400']
  const { stdout } = await bench('pipeline', '--json', ...few)
  const lines = stdout.trimEnd().split('\n')
  expect(lines).toHaveLength(1)
  const { pipeline, machine, versions } = JSON.parse(lines[0] ?? '') as Figures
  for (const name of [
    'governed_jobs_per_s',
    'bare_jobs_per_s',
    'relay_msgs_per_s',
    'ratio',
    'without_tickets_jobs_per_s',
    'p50_ms',
    'p99_ms',
  ]) {
    expect(pipeline[name], name).toEqual(expect.any(Number))
    expect(pipeline[name], name).toBeGreaterThan(0)
  }
  expect(pipeline['rounds']).toHaveLength(1)
  expect(machine).toMatchObject({ cpu: expect.any(String), cores: expect.any(Number) })
  expect(versions).toMatchObject({
    sluice: expect.any(String),
    node: process.versions.node,
    nats_server: expect.stringMatching(/^2\./),
    nats_client: expect.any(String),
  })
}, 120_000)

test.concurrent('a small queue of approvals is listed and resolved, and the gateway starts again with it', async () => {
  const { stdout } = await bench('approvals', '--json', '--parked', '120', '--calls', '5')
  const { approvals } = JSON.parse(stdout) as { approvals: Record<string, number> }
  expect(approvals).toMatchObject({ parked: 120, calls: 5 })
  for (const name of ['list_p50_ms', 'list_p99_ms', 'resolve_p50_ms', 'resolve_p99_ms', 'restart_ms'])
    expect(approvals[name], name).toBeGreaterThan(0)
}, 120_000)

test.concurrent('a few parked jobs expire beside a small load, none before its time', async () => {
  const { stdout } = await bench('timers', '--json', '--parked', '20', '--steady', '20')
  const { timers } = JSON.parse(stdout) as { timers: Record<string, number> }
  expect(timers).toMatchObject({ parked: 20, steady_per_s: 20 })
  for (const name of ['lateness_median_ms', 'lateness_p999_ms', 'lateness_max_ms'])
    expect(timers[name], name).toBeGreaterThanOrEqual(0)
}, 120_000)

test('a suite or a number that cannot be is a usage error', async () => {
  await expect(bench('pipelines')).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining('usage:'),
  })
  await expect(bench('--window', '1')).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--window must be'),
  })
}, 60_000)

test('a job of the bench is one that the gate can read, and the worker finds its number and time in it', () => {
  const body = jobBytes(1_234_567, 98_765_432_101)
  expect(parseJob({ tenant: 'default', agent: 'demo' }, 'job.mcp-bridge.read.get_ticket', body).ok).toBe(true)
  expect(body.length).toBeGreaterThanOrEqual(256)
  expect(body.length).toBeLessThanOrEqual(380)
  expect(numberOf(body)).toBe(1_234_567)
  expect(sentUsOf(body)).toBe(98_765_432_101)
})

test('medians and quantiles are those of the sorted values', () => {
  expect(median([9, 1, 5])).toBe(5)
  expect(median([4, 1, 2, 9])).toBe(3)
  const values = Array.from({ length: 100 }, (_, index) => 99 - index)
  expect(quantile(values, 0.5)).toBe(50)
  expect(quantile(values, 0.99)).toBe(99)
  expect(median([])).toBeNaN()
})
