import { readFile } from 'node:fs/promises'
import { arch, cpus, loadavg, platform, release, totalmem } from 'node:os'
import { join } from 'node:path'

import { projectRoot } from '../cli/dev/project.ts'
import type { FoundNats } from '../cli/dev/nats-binary.ts'
import { version } from '../gateway/version.ts'
import type { PipelineFigures } from './pipeline.ts'

/** Where the figures come from: nobody can compare them without. */
export type Machine = {
  cpu: string
  cores: number
  memory_gib: number
  system: string
  load_average_1m: number
}
export type Versions = { sluice: string; node: string; nats_server: string; nats_client: string }

export function describeMachine(): Machine {
  const all = cpus()
  return {
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    memory_gib: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${release()} ${arch()}`,
    load_average_1m: Math.round((loadavg()[0] ?? 0) * 100) / 100,
  }
}

export async function describeVersions(nats: FoundNats): Promise<Versions> {
  const file = join(projectRoot, 'node_modules', '@nats-io', 'transport-node', 'package.json')
  const client = JSON.parse(await readFile(file, 'utf8')) as { version: string }
  return {
    sluice: version,
    node: process.versions.node,
    nats_server: nats.version,
    nats_client: client.version,
  }
}

/** The figures as a table for people. */
export function pipelineTable(figures: PipelineFigures): string {
  const rows = [
    ['', 'jobs/s', 'p50 ms', 'p99 ms', 'cpu us/job'],
    row(
      'governed',
      figures.governed_jobs_per_s,
      figures.p50_ms,
      figures.p99_ms,
      figures.governed_cpu_us_per_job,
    ),
    row(
      'bare',
      figures.bare_jobs_per_s,
      figures.bare_p50_ms,
      figures.bare_p99_ms,
      figures.bare_cpu_us_per_job,
    ),
    row('relay', figures.relay_msgs_per_s, figures.relay_p50_ms, figures.relay_p99_ms, null),
  ]
  const lines = rows.map(
    ([name = '', ...cells]) => name.padEnd(10) + cells.map((cell) => cell.padStart(12)).join(''),
  )
  const rounds = `${figures.rounds.length} rounds of ${figures.jobs_per_round} jobs, records of ${figures.record_bytes} bytes`
  return [...lines, '', `governed / bare = ${figures.ratio} (medians of ${rounds})`].join('\n')
}

function row(name: string, perSec: number, p50: number, p99: number, cpu: number | null): string[] {
  return [name, String(perSec), String(p50), String(p99), cpu === null ? '-' : String(cpu)]
}
