import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { expect, test } from 'vitest'

import { exitCodes } from '../../cli/exit-codes.ts'
import { settingKeys, variablesOf } from '../../gateway/config/settings.ts'

const execute = promisify(execFile)
const unit = await readFile('deploy/sluice.service', 'utf8')
const analyze = await execute('systemd-analyze', ['--version']).then(
  () => true,
  () => false,
)

test('systemd reads the unit without a complaint', async ({ skip }) => {
  if (!analyze) return skip('there is no systemd-analyze here')
  const folder = await mkdtemp(join(tmpdir(), 'sluice-unit-'))
  const file = join(folder, 'sluice.service')
  // Where Node stands is the machine's business; here it is where ours is.
  await writeFile(file, unit.replaceAll('/usr/bin/node', process.execPath))
  const { stdout, stderr } = await execute('systemd-analyze', ['verify', file])
  await rm(folder, { recursive: true })
  expect(stdout + stderr).not.toContain('sluice.service')
})

test('it sets only variables that are settings', () => {
  const known = settingKeys.flatMap(variablesOf)
  const set = [...unit.matchAll(/^Environment=(SLUICE_[A-Z_]+)=/gm)].map(([, name = '']) => name)
  expect(set.length).toBeGreaterThan(1)
  expect(set.filter((name) => name !== 'SLUICE_CONFIG' && !known.includes(name))).toEqual([])
})

test('it is not started again when its configuration or its policy is bad', () => {
  expect(unit).toContain(`RestartPreventExitStatus=${exitCodes.badConfiguration}\n`)
})
