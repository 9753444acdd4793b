import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { projectRoot } from '../cli/dev/project.ts'
import type { PipelineFigures } from './pipeline.ts'
import type { Machine, Versions } from './report.ts'

/** Puts a suite's table into docs/benchmarks.md, in the place of the one before. */
export async function writeTable(suite: 'pipeline' | 'policy', table: string): Promise<void> {
  const begin = `<!-- ${suite} figures: npm run bench -- ${suite} --write -->`
  const end = `<!-- end of ${suite} figures -->`
  const file = join(projectRoot, 'docs', 'benchmarks.md')
  const page = await readFile(file, 'utf8')
  const [before, rest] = page.split(begin)
  const after = rest?.split(end)[1]
  if (before === undefined || after === undefined) throw new Error(`${file} has no place for the figures`)
  await writeFile(file, `${before}${begin}\n\n${table}\n\n${end}${after}`)
}

/** The pipeline's figures as Markdown, with the machine and the versions they come from. */
export function pipelineMarkdown(figures: PipelineFigures, machine: Machine, versions: Versions): string {
  const row = (name: string, ...cells: (number | null)[]): string =>
    `| ${[name, ...cells.map((cell) => cell ?? '-')].join(' | ')} |`
  const { governed_jobs_per_s, p50_ms, p99_ms, governed_cpu_us_per_job } = figures
  return [
    `${machine.cpu}, ${machine.cores} cores, load ${machine.load_average_1m} before the run; Node ${versions.node}, nats-server ${versions.nats_server}. Medians of ${figures.rounds.length} rounds of ${figures.jobs_per_round} jobs. governed / bare = **${figures.ratio}**.`,
    '',
    '| way | jobs/s | p50 ms | p99 ms | processor us per job |',
    '|---|---:|---:|---:|---:|',
    row('governed', governed_jobs_per_s, p50_ms, p99_ms, governed_cpu_us_per_job),
    row(
      'governed, without tickets',
      figures.without_tickets_jobs_per_s,
      null,
      null,
      figures.without_tickets_cpu_us_per_job,
    ),
    row(
      'bare',
      figures.bare_jobs_per_s,
      figures.bare_p50_ms,
      figures.bare_p99_ms,
      figures.bare_cpu_us_per_job,
    ),
    row('relay', figures.relay_msgs_per_s, figures.relay_p50_ms, figures.relay_p99_ms, null),
  ].join('\n')
}
