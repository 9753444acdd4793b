import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { fetchFromDebian } from '../../cli/dev/debian-package.ts'
import { alertRules } from '../helpers/alerts.ts'

const execute = promisify(execFile)
const promtool = await fetchFromDebian(
  process.env,
  { name: 'promtool', package: 'prometheus', size: '19 MB' },
  console.error,
)

test('promtool finds nothing wrong with the alerts', async ({ skip }) => {
  if (promtool === undefined) return skip('there is no promtool here, and Debian’s package cannot be had')
  const { stdout } = await execute(promtool, ['check', 'rules', '--lint-fatal', 'deploy/alerts.yaml'])
  expect(stdout).toContain(`${(await alertRules()).length} rules found`)
})

test('each alert fires when it must and is silent before', async ({ skip }) => {
  if (promtool === undefined) return skip('there is no promtool here, and Debian’s package cannot be had')
  const { stdout } = await execute(promtool, ['test', 'rules', 'deploy/alerts.test.yaml'])
  expect(stdout).toContain('SUCCESS')
}, 60_000)

test('there is a case in which it fires and one in which it does not for every alert', async () => {
  const { tests } = parse(await readFile('deploy/alerts.test.yaml', 'utf8')) as {
    tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[]
  }
  const cases = tests.flatMap(({ alert_rule_test }) => alert_rule_test)
  const named = (fires: boolean): string[] =>
    cases.filter(({ exp_alerts }) => exp_alerts.length > 0 === fires).map(({ alertname }) => alertname)
  const alerts = (await alertRules()).map(({ alert }) => alert).toSorted()
  expect([...new Set(named(true))].toSorted()).toEqual(alerts)
  expect([...new Set(named(false))].toSorted()).toEqual(alerts)
})
