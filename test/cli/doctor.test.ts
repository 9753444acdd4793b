import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import { run } from '../../cli/doctor.ts'
import type { Finding } from '../../gateway/nats/doctor-server.ts'
import { planStreams } from '../../gateway/nats/streams.ts'
import { asOwner, startTestNats, testLimits, type TestNats } from '../helpers/nats-server.ts'
import { testTerminal } from '../helpers/terminal.ts'

let folder: string
let nats: TestNats
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-doctor-'))
})
afterEach(() => nats.stop())
afterAll(() => rm(folder, { recursive: true }))

async function doctor(args: string[] = []): Promise<{ code: number; findings: Finding[]; err: string }> {
  await writeFile(join(folder, 'ready.json'), JSON.stringify({ nats_url: nats.url }))
  await writeFile(join(folder, 'passwords.json'), JSON.stringify({ gateway: nats.passwords['gateway'] }))
  const where = ['--data-dir', folder, '--topology', 'deploy/topology.yaml', '--limits-audit-bytes-max']
  const terminal = testTerminal()
  const code = await run([...where, String(testLimits.auditBytesMax), '-o', 'json', ...args], terminal)
  const [line = '{}'] = terminal.outLines
  const { findings = [] } = JSON.parse(line) as { findings?: Finding[] }
  return { code, findings, err: terminal.errLines.join('\n') }
}
const ids = (findings: readonly Finding[]): string[] =>
  findings.map(({ id, severity }) => `${severity} ${id}`)

describe('sluice doctor', () => {
  test('has nothing fatal to say about a server that runs nats.conf and has all streams', async () => {
    nats = await startTestNats()
    const { code, findings } = await doctor(['--conf', 'nats.conf'])
    expect(code).toBe(0)
    const old = nats.version.startsWith('2.9.')
    expect(ids(findings)).toEqual([
      ...(old ? ['warning CVE-2025-30215', 'warning full-stream-forgets'] : []),
      'note sync-interval',
      ...(old ? ['note CVE-2026-33223', 'note clock-unknown'] : []),
    ])
    for (const { what, todo } of findings) expect(what.length * todo.length).toBeGreaterThan(0)
  })

  test('says that it has not seen the layout when it has not', async () => {
    nats = await startTestNats()
    expect(ids((await doctor()).findings)).toContain('warning layout-unseen')
  })

  test('sees what somebody changed in a stream, and that it matters', async () => {
    nats = await startTestNats({ owner: 'stays' })
    const request = await asOwner(nats)
    const planned = planStreams(nats.topology, testLimits).streams
    const config = (name: string) => planned.find((stream) => stream.name === name)
    await request('$JS.API.STREAM.UPDATE.WORK', { ...config('WORK'), max_bytes: 2 ** 20 })
    await request('$JS.API.STREAM.UPDATE.APPROVALS', { ...config('APPROVALS'), max_age: 3_600_000_000_000 })
    await request('$JS.API.STREAM.UPDATE.AUDIT', { ...config('AUDIT'), max_msgs: 1 })
    await request('$JS.API.STREAM.DELETE.COMMANDS')
    const { code, findings } = await doctor(['--conf', 'nats.conf'])
    expect(code).toBe(1)
    expect(ids(findings)).toEqual(
      expect.arrayContaining([
        'fatal stream-drift:COMMANDS',
        'fatal consumer-drift:COMMANDS/gw',
        'fatal stream-drift:AUDIT',
        'fatal stream-drift:APPROVALS',
        'warning stream-drift:WORK',
      ]),
    )
  })

  test('cannot look where nobody listens, and says so', async () => {
    nats = await startTestNats({ provisioned: false })
    await nats.kill9()
    expect((await doctor()).code).toBe(69)
    await nats.restart()
  })

  test.each([
    ['a word', ['what'], 2],
    ['an unknown output', ['-o', 'yaml'], 2],
    ['a configuration that is not there', ['--conf', 'nowhere.conf'], 78],
    ['a configuration that is none', ['--conf', 'package.json5'], 78],
    ['a folder in which no sluice dev runs', ['--data-dir', 'nowhere'], 78],
  ])('does not guess what %s means', async (_, args, code) => {
    nats = await startTestNats({ provisioned: false })
    const done = await doctor(args)
    expect(done.code).toBe(code)
    expect(done.err).not.toBe('')
  })
})
