import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { run as approval } from '../../cli/approval.ts'
import { durationText } from '../../cli/duration-text.ts'
import { run as job } from '../../cli/job.ts'
import { run as policy } from '../../cli/policy.ts'
import { tableText } from '../../cli/table-text.ts'
import { run as token } from '../../cli/token.ts'
import { run as trace } from '../../cli/trace.ts'
import { visible } from '../../cli/visible.ts'
import { testTerminal } from '../helpers/terminal.ts'

const commands = { job, approval, trace, policy, token }

async function sluice(
  name: keyof typeof commands,
  args: string[],
): Promise<{ code: number; out: string; err: string }> {
  const terminal = testTerminal({ SLUICE_URL: 'http://127.0.0.1:1' })
  const code = await commands[name](args, terminal)
  return { code, out: terminal.outLines.join('\n'), err: terminal.errLines.join('\n') }
}

describe('help', () => {
  test.each<[keyof typeof commands, string[]]>([
    ['job', []],
    ['job', ['submit']],
    ['job', ['get']],
    ['job', ['watch']],
    ['job', ['cancel']],
    ['approval', []],
    ['approval', ['ls']],
    ['approval', ['show']],
    ['approval', ['approve']],
    ['approval', ['reject']],
    ['approval', ['watch']],
    ['trace', []],
    ['token', []],
    ['token', ['create']],
    ['token', ['ls']],
    ['policy', []],
    ['policy', ['check']],
    ['policy', ['test']],
    ['policy', ['explain']],
    ['policy', ['diff']],
    ['policy', ['replay']],
    ['policy', ['snapshots']],
    ['policy', ['rollback']],
    ['policy', ['shadow']],
  ])('sluice %s %j --help teaches on standard output and exits 0', async (name, args) => {
    const { code, out, err } = await sluice(name, [...args, '--help'])
    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(new RegExp(`^usage: sluice ${[name, ...args].join(' ')}`))
    expect(await sluice(name, [...args, '-h'])).toEqual({ code, out, err })
  })
})

describe('a command line that cannot be meant is 2 and says why', () => {
  test.each<[keyof typeof commands, string[], RegExp]>([
    ['job', [], /usage: sluice job <command>/],
    ['job', ['sumbit'], /did you mean submit\?/],
    ['job', ['constructor'], /unknown command/],
    ['job', ['submit'], /say the topic, or --file/],
    ['job', ['submit', 'a', 'b'], /b is one word too many/],
    ['job', ['submit', 'a', '--tga', 'x'], /did you mean --tag\?/],
    ['job', ['submit', 'a', '--tag'], /--tag needs a value/],
    ['job', ['submit', 'a', '--label', 'x'], /--label is KEY=TEXT/],
    ['job', ['submit', 'a', '--label', '=x'], /--label is KEY=TEXT/],
    ['job', ['submit', 'a', '--payload', '{'], /the payload is not JSON/],
    ['job', ['submit', 'a', '--payload', '1', '--payload-file', 'x'], /--payload or --payload-file/],
    ['job', ['submit', 'a', '--payload-file', '/nowhere/x'], /cannot be read: ENOENT/],
    ['job', ['submit', 'a', '--file', 'x'], /--file is the whole job/],
    ['job', ['submit', '--file', 'x', '--tag', 'x'], /--file is the whole job/],
    ['job', ['submit', 'a', '--wait', '--timeout', 'soon'], /whole number of seconds/],
    ['job', ['get'], /JOB_ID is missing/],
    ['job', ['get', 'a', '-o', 'yaml'], /-o is text or json/],
    ['approval', ['ls', '--limit', '0'], /--limit/],
    ['approval', ['approve'], /JOB_ID is missing/],
    ['trace', [], /TRACE_ID\|JOB_ID is missing/],
    ['policy', ['check'], /FILE\.\.\. is missing/],
    ['policy', ['explain'], /say the job/],
    ['policy', ['replay'], /say the candidate/],
    ['policy', ['replay', '--policy', 'x', '--since', 'soon'], /--since is a duration/],
    ['policy', ['rollback'], /say a snapshot, or --end/],
    ['policy', ['rollback', 'abc'], /say why/],
  ])('sluice %s %j', async (name, args, why) => {
    const { code, out, err } = await sluice(name, args)
    expect([code, out]).toEqual([2, ''])
    expect(err).toMatch(why)
    expect(err).toMatch(/usage: sluice/)
  })
})

describe('policy check', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sluice-policy-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  test('a policy that loads is 0, with its rules and its snapshot', async () => {
    const { code, out } = await sluice('policy', ['check', 'deploy/policy.yaml'])
    expect(code).toBe(0)
    expect(out).toMatch(/^ok: 4 rules.*snapshot [0-9a-f]{64}$/)
    const json = await sluice('policy', ['check', 'deploy/policy.yaml', '-o', 'json'])
    expect(JSON.parse(json.out)).toMatchObject({ ok: true, rules: 4 })
  })

  test('one that does not is 78, each problem with file, line, column and what was meant', async () => {
    const file = join(folder, 'bad.yaml')
    const text = await readFile('deploy/policy.yaml', 'utf8')
    await writeFile(file, text.replace('decision: deny', 'decision: denny').replace('topics:', 'topic:'))
    const { code, out, err } = await sluice('policy', ['check', file])
    expect([code, out]).toEqual([78, ''])
    const lines = err.split('\n')
    expect(lines).toHaveLength(2)
    expect(lines[0]).toMatch(new RegExp(`^${file}:5:\\d+: .*topic.*did you mean "topics"`))
    expect(lines[1]).toMatch(new RegExp(`^${file}:\\d+:15: .*denny.*did you mean "deny"`))
    const json = await sluice('policy', ['check', file, '-o', 'json'])
    expect(JSON.parse(json.out)).toMatchObject({ ok: false, problems: [{ line: 5 }, { column: 15 }] })
  })

  test('one that is not there is 78, too', async () => {
    expect(await sluice('policy', ['check', join(folder, 'none.yaml')])).toMatchObject({
      code: 78,
      err: expect.stringMatching(/cannot be read: ENOENT/) as string,
    })
  })
})

describe('text', () => {
  test.each([
    [0, '0s'],
    [-5_000, '0s'],
    [499, '0s'],
    [61_000, '1m 1s'],
    [3_600_000, '1h'],
    [3_601_000, '1h 1s'],
    [90_061_000, '1d 1h'],
  ])('%i ms is %s', (ms, text) => {
    expect(durationText(ms)).toBe(text)
  })

  test('what a terminal would obey is shown', () => {
    expect(visible('a\u001b[31m\u0000\u200b\u202e\u2028\n')).toBe(
      'a\\u{1b}[31m\\u{0}\\u{200b}\\u{202e}\\u{2028}\\u{a}',
    )
    expect(visible('ordinary text, ünïcödé, 漢字 and 🎫')).toBe('ordinary text, ünïcödé, 漢字 and 🎫')
  })

  test('columns are as wide as their widest cell, and hostile cells stay in their row', () => {
    expect(
      tableText([
        ['A', 'B', 'C'],
        ['long', 'x\ny', 'end'],
      ]),
    ).toEqual(['A     B        C', 'long  x\\u{a}y  end'])
  })
})
