import { readFile } from 'node:fs/promises'
import { parse } from 'yaml'

/** The alerts of deploy/alerts.yaml, as far as tests look at them. */
export async function alertRules(): Promise<{ alert: string; expr: string }[]> {
  const { groups } = parse(await readFile('deploy/alerts.yaml', 'utf8')) as {
    groups: { rules: { alert: string; expr: string }[] }[]
  }
  return groups.flatMap(({ rules }) => rules)
}

/** The names of all metrics that they look at. */
export async function alertedMetrics(): Promise<string[]> {
  const names = (await alertRules()).flatMap(({ expr }) => expr.match(/sluice_\w+/g) ?? [])
  return [...new Set(names)]
}
