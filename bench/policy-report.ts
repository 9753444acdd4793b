import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { projectRoot } from '../cli/dev/project.ts'
import type { Machine } from './report.ts'
import type { PolicyFigures } from './policy.ts'

/** The figures as Markdown: for the terminal, and for docs/benchmarks.md. */
export async function policyTable(figures: PolicyFigures, machine: Machine): Promise<string> {
  const sizes = Object.keys(figures.ns_per_decision)
  const row = (name: string, cells: readonly string[]): string => `| ${[name, ...cells].join(' | ')} |`
  const of = (values: Record<string, number>): string[] => sizes.map((size) => String(values[size] ?? '-'))
  const lines = [
    `${machine.cpu}, ${machine.cores} cores, load ${machine.load_average_1m}; Node ${process.versions.node}. JSON.parse of one job: ${figures.json_parse_ns} ns. Times of decisions are processor time, those of loading and its pauses are time that passes.`,
    '',
    row('rules', sizes),
    row(
      '---',
      sizes.map(() => '---:'),
    ),
    row('ns per decision', of(figures.ns_per_decision)),
    row('by JSON.parse of the job', of(figures.ratio)),
    row('without memo, by JSON.parse', of(figures.ratio_without_memo)),
    row('growth', of(figures.growth)),
    row('read from YAML, ms', of(figures.load_ms)),
    row('longest pause of the event loop, ms', of(figures.load_max_pause_ms)),
    row('longest work at a stretch, ms', of(figures.load_max_work_ms)),
    row('index alone, ms', of(figures.index_ms)),
    row('rules that match a job', of(figures.matches_per_job)),
    row('jobs without a match', of(figures.no_match_share)),
  ]
  const names = Object.keys(figures.peers)
  if (names.length === 0) return lines.join('\n')
  const peerSizes = sizes.filter((size) => names.some((name) => figures.peers[name]?.[size] !== undefined))
  lines.push(
    '',
    'How many times longer other engines take for the same decision (and how many decisions were checked to be the same: an engine that has had 1.5 s of processor time is asked no more):',
    '',
  )
  lines.push(
    row('engine', peerSizes),
    row(
      '---',
      peerSizes.map(() => '---:'),
    ),
  )
  for (const name of names) {
    const cells = peerSizes.map((size) => {
      const peer = figures.peers[name]?.[size]
      if (peer === undefined) return '-'
      const times = peer.ns / (figures.ns_per_decision[size] ?? NaN)
      return `${times < 100 ? times.toFixed(1) : Math.round(times)} (${peer.checked})`
    })
    lines.push(row(`${name} ${await versionOf(name)}`, cells))
  }
  return lines.join('\n')
}

export async function versionOf(name: string): Promise<string> {
  const text = await readFile(join(projectRoot, 'node_modules', name, 'package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
