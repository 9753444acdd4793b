import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { run as canI } from '../../cli/can-i.ts'
import { run as policy } from '../../cli/policy.ts'
import { readScene } from '../../policy/scene.ts'
import { testTerminal } from '../helpers/terminal.ts'

const demo = 'deploy/policy.yaml'
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-policy-'))
})
afterAll(() => rm(folder, { recursive: true }))

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text)
  return path
}

async function sluice(
  run: (args: string[], terminal: ReturnType<typeof testTerminal>) => Promise<number>,
  args: string[],
  input = '',
): Promise<{ code: number; out: string; err: string }> {
  const terminal = testTerminal({ SLUICE_URL: 'http://127.0.0.1:1' }, input)
  const code = await run(args, terminal)
  return { code, out: terminal.outLines.join('\n'), err: terminal.errLines.join('\n') }
}

describe('policy test', () => {
  test("the mission's table is a suite that holds and covers every rule", async () => {
    const { code, out } = await sluice(policy, ['test', 'deploy/policy.test.yaml', '--covered'])
    expect(code).toBe(0)
    expect(out).toMatch(/8 of 8 as wanted/)
    expect(out).toMatch(/deny-destructive +2 +2/)
  })

  test('the suite of the example policy holds and covers every rule, and the policy checks without an error', async () => {
    const { code, out } = await sluice(policy, ['test', 'examples/policy.test.yaml', '--covered'])
    expect(out).toMatch(/8 of 8 as wanted/)
    expect(code).toBe(0)
    expect((await sluice(policy, ['check', 'examples/policy.yaml'])).code).toBe(0)
  })

  test('a wrong expectation is exit code 1 and says what was wanted and what came, in JUnit as well', async () => {
    const suite = await file(
      'wrong.yaml',
      `version: v1
tests:
  - name: 'a "read" & more'
    job: {topic: job.mcp-bridge.read.x, risk_tags: [destructive]}
    want: {decision: ALLOW, rule: allow-low-risk-read}
  - name: fine
    job: {topic: job.agent.exec.x, risk_tags: [medium]}
    want: {decision: ALLOW_WITH_CONSTRAINTS, constraints: {max_runtime_sec: 45, max_retries: 1}}
`,
    )
    const junit = join(folder, 'junit.xml')
    const { code, out } = await sluice(policy, ['test', suite, '--policy', demo, '--junit', junit])
    expect(code).toBe(1)
    expect(out).toMatch(/decision: wanted ALLOW, got DENY/)
    expect(out).toMatch(/1 of 2 as wanted/)
    expect(out).toMatch(/no test matches allow-low-risk-read, require-approval-prod-write/)
    const xml = await readFile(junit, 'utf8')
    expect(xml).toMatch(/tests="2" failures="1"/)
    expect(xml).toContain('name="a &quot;read&quot; &amp; more"')
    const json = await sluice(policy, ['test', suite, '--policy', demo, '-o', 'json'])
    expect(JSON.parse(json.out)).toMatchObject({
      ok: false,
      failed: 1,
      suites: [{ tests: [{ ok: false }, { ok: true }] }],
    })
  })

  test('a rule that no test matches fails a suite that is asked to cover all', async () => {
    const suite = await file(
      'few.yaml',
      'version: v1\ntests: [{name: a, job: {topic: job.a}, want: {decision: DENY}}]\n',
    )
    expect((await sluice(policy, ['test', suite, '--policy', demo])).code).toBe(0)
    expect((await sluice(policy, ['test', suite, '--policy', demo, '--covered'])).code).toBe(1)
  })

  test('a misspelt key is never a test that tests nothing', async () => {
    const suite = await file(
      'bad.yaml',
      'version: v1\ntests:\n  - name: a\n    job: {topic: job.a}\n    want: {decison: DENY}\n',
    )
    const { code, err } = await sluice(policy, ['test', suite, '--policy', demo])
    expect(code).toBe(78)
    expect(err).toMatch(/bad\.yaml:5:\d+: .*did you mean "decision"/)
  })
})

describe('policy explain', () => {
  const explain = async (job: unknown): Promise<Record<string, unknown>> => {
    const { code, out } = await sluice(
      policy,
      ['explain', '--policy', demo, '--job', '-', '-o', 'json'],
      JSON.stringify(job),
    )
    expect(code).toBe(0)
    return JSON.parse(out) as Record<string, unknown>
  }

  test('prints the decision object with what came close and both sets of tags', async () => {
    const told = await explain({ topic: 'job.mcp-bridge.read.a.b', tenant: 'acme', actor: 'bob' })
    expect(told).toMatchObject({
      type: 'DENY',
      rule_id: 'sluice.no-match',
      constraints: null,
      matched: [],
      policy_snapshot: expect.stringMatching(/^[0-9a-f]{64}$/),
      decision: { type: 'DENY' },
      risk_tags: { declared: [], derived: [] },
    })
    expect((told['near_misses'] as unknown[])[0]).toEqual({
      rule_id: 'allow-low-risk-read',
      decision: 'ALLOW',
      failed: [{ clause: 'match.topics', wanted: 'job.mcp-bridge.read.*', found: 'job.mcp-bridge.read.a.b' }],
      change: {
        edits: ['use a topic such as job.mcp-bridge.read.a'],
        outcome: { type: 'ALLOW', rule_id: 'allow-low-risk-read' },
      },
    })
  })

  test('never suggests to drop a risk tag', async () => {
    const told = await explain({ topic: 'job.mcp-bridge.read.x', risk_tags: ['odd'] })
    const near = told['near_misses'] as { rule_id: string; failed: unknown[]; change?: unknown }[]
    expect(near.find(({ rule_id }) => rule_id === 'allow-low-risk-read')).toEqual({
      rule_id: 'allow-low-risk-read',
      decision: 'ALLOW',
      failed: [{ clause: 'match.risk_tags', wanted: 'no tags at all', found: 'odd' }],
    })
  })

  test('a body that is no job is denied under its own rule id', async () => {
    expect(await explain({ topic: 'job.a', risk_tag: [] })).toMatchObject({
      type: 'DENY',
      rule_id: 'sluice.invalid-job',
      near_misses: [],
    })
  })

  test('an approximation of the job is no job: twice the same key is refused', async () => {
    const twice = '{"topic":"job.a","topic":"job.b"}'
    const { code, err } = await sluice(policy, ['explain', '--policy', demo, '--job', '-'], twice)
    expect(code).toBe(2)
    expect(err).toMatch(/twice/)
  })
})

describe('can-i', () => {
  test.each([
    [['job.mcp-bridge.read.x'], 0],
    [['job.mcp-bridge.read.x', '--tag', 'destructive'], 3],
    [['job.mcp-bridge.write.x', '--tag', 'prod', '--tenant', 'acme', '--actor', 'bob'], 4],
  ])('%j ends with the exit code of the decision', async (args, wanted) => {
    expect((await sluice(canI, [...args, '--policy', demo])).code).toBe(wanted)
  })

  test('asks a gateway when no policy is named', async () => {
    expect((await sluice(canI, ['job.a'])).code).toBe(69)
  })
})

describe('policy diff', () => {
  test('the same meaning is no difference, whatever the order', async () => {
    const text = await readFile(demo, 'utf8')
    const same = await file('same.yaml', `# another comment\n${text}`)
    expect((await sluice(policy, ['diff', demo, same])).code).toBe(0)
  })

  test('a looser policy is told with a job that it lets through', async () => {
    const text = await readFile(demo, 'utf8')
    const loose = await file('loose.yaml', text.replace('["destructive"]', '["destroying"]'))
    const { code, out } = await sluice(policy, ['diff', demo, loose, '--at-least-as-strict', '-o', 'json'])
    expect(code).toBe(1)
    const { differences } = JSON.parse(out) as { differences: { looser: string; witness: unknown }[] }
    expect(differences[0]?.looser).toMatch(/denied before/)
    expect(readScene(differences[0]?.witness)).toMatchObject({
      ok: true,
      scene: { job: { riskTags: expect.arrayContaining(['destructive']) } },
    })
  })

  test('a stricter policy is at least as strict, and the other way round it is not', async () => {
    const text = await readFile(demo, 'utf8')
    const strict = await file('strict.yaml', text.replace('max_runtime_sec: 45', 'max_runtime_sec: 30'))
    expect((await sluice(policy, ['diff', demo, strict, '--at-least-as-strict'])).code).toBe(0)
    expect((await sluice(policy, ['diff', strict, demo, '--at-least-as-strict'])).code).toBe(1)
    expect((await sluice(policy, ['diff', demo, strict])).code).toBe(1)
  })
})

test('policy check prints warnings with jobs that show them, and is strict when asked', async () => {
  const { code, err } = await sluice(policy, ['check', demo])
  expect(code).toBe(0)
  expect(err).toMatch(/warning: allow-low-risk-read .*deny-destructive.*\n +witness: \{"tenant":"default"/)
  expect((await sluice(policy, ['check', demo, '--strict'])).code).toBe(1)
  expect((await sluice(policy, ['check', demo, '--no-warnings', '--strict'])).err).toBe('')
})
