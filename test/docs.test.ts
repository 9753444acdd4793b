import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { fileSchema } from '../gateway/config/settings.ts'
import { parseTokens } from '../gateway/http/tokens-file.ts'
import { checkYaml } from '../gateway/config/yaml-file.ts'
import { canonicalJson } from '../policy/digest.ts'
import { evaluate } from '../policy/evaluate.ts'
import { parseJob } from '../policy/job.ts'
import { loadPolicy } from '../policy/load.ts'
import { fencedBlocks, type Fenced } from './helpers/fenced.ts'
import { openReader, type Reader } from './helpers/reader.ts'
import { demoTopology } from './helpers/topology.ts'

/**
 * What we write for people is run. A block marked `sh` is run as it stands by bash against a `sluice dev`, with the port of this
 * one in place of 8081; `yaml` is loaded as the file that its first line names; `json` is parsed; `text` is a picture.
 */
const pages = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', ...findPages()]
/** These pages are about one thing and have a test of their own that knows it. */
const ownTest: Readonly<Record<string, string>> = { 'docs/policy.md': 'test/policy/docs.test.ts' }
/** Commands that contain this very test, that only end when somebody ends them, or that have a test of their own. */
const notHere = /^npm (start|test|run check|run bench)\b/

const blocks = pages.filter((page) => !Object.hasOwn(ownTest, page)).flatMap(fencedBlocks)
const marked = (language: string): [string, Fenced][] =>
  blocks.filter((block) => block.language === language).map((block) => [`${block.file}:${block.line}`, block])

let reader: Reader

beforeAll(async () => {
  reader = await openReader()
}, 120_000)
afterAll(() => reader.stop())

function findPages(): string[] {
  const files = readdirSync('docs', { recursive: true, encoding: 'utf8' })
  return files
    .filter((file) => file.endsWith('.md'))
    .map((file) => join('docs', file))
    .toSorted()
}

describe('pages', () => {
  test.each(pages)('%s marks each of its blocks as something that is checked or as text', (page) => {
    const unknown = fencedBlocks(page).filter(
      ({ language }) => !['sh', 'yaml', 'json', 'text', ''].includes(language),
    )
    expect(unknown).toEqual([])
    const unmarked = fencedBlocks(page).filter(({ language }) => language === '')
    expect(unmarked).toEqual([])
  })

  test.each(Object.entries(ownTest))('%s has the test %s', (page, file) => {
    expect(existsSync(page) && existsSync(file)).toBe(true)
  })

  test.each(pages)('%s points at nothing that is not there', (page) => {
    const links = [...readFileSync(page, 'utf8').matchAll(/\]\(([^)]+)\)/g)].map(([, target = '']) => target)
    const here = links
      .filter((target) => !/^(https?:|#)/.test(target))
      .map((target) => target.replace(/#.*$/, ''))
    expect(here.filter((target) => !existsSync(join(dirname(page), target)))).toEqual([])
  })

  test('the README is at most 200 lines', () => {
    expect(readFileSync('README.md', 'utf8').split('\n').length).toBeLessThanOrEqual(200)
  })
})

describe('blocks', () => {
  test.each(marked('sh'))(
    'the commands at %s do what they say',
    { timeout: 90_000 },
    async (_place, { text }) => {
      const lines = text.split('\n')
      const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as {
        scripts: Record<string, string>
      }
      for (const line of lines.filter((one) => notHere.test(one)))
        expect(scripts).toHaveProperty([line.replace(/^npm (run )?/, '').replace(/ .*/, '')])
      await reader.bash(lines.filter((line) => !notHere.test(line)).join('\n'))
      await reader.liftStops()
    },
  )

  test('npx finds the command of this folder', { timeout: 60_000 }, async () => {
    expect(await reader.bash('command npx sluice --help')).toContain('usage: sluice <command>')
  })

  test.each(marked('yaml'))('the file at %s loads', async (_place, { text }) => {
    const name = /^# (\S+)/.exec(text)?.[1]
    if (name === 'policy.yaml') expect(loadPolicy(text)).toMatchObject({ ok: true })
    else if (name === 'sluice.yaml') expect(checkYaml(name, text, fileSchema)).toMatchObject({ ok: true })
    else if (name === 'tokens.yaml')
      expect(parseTokens(name, text, await demoTopology())).toMatchObject({ ok: true })
    else expect.fail(`the first line must name the file: ${name}`)
  })

  test.each(marked('json'))(
    'the JSON at %s is JSON, and a record is written as records are',
    (_place, { text }) => {
      const value = JSON.parse(text) as object
      if ('specversion' in value) expect(`${canonicalJson(value)}\n`).toBe(text)
    },
  )
})

describe('README', () => {
  const readme = readFileSync('README.md', 'utf8')

  test('what just happened ends in a succeeded job, an approval with its note, and a trace of both', async () => {
    const block = blocks.find(({ file, text }) => file === 'README.md' && text.includes('/approve'))
    const said = await reader.bash(block?.text ?? '')
    expect(said).toContain('"state":"SUCCEEDED"')
    expect(said).toContain('"note":"looked at it"')
    expect(said).toMatch(/PARKED > DISPATCHED .*looked at it/)
    expect(said).toMatch(/DISPATCHED > SUCCEEDED/)
  })

  test('the policy is the one of the demo', () => {
    const block = blocks.find(({ file, language }) => file === 'README.md' && language === 'yaml')
    expect(block?.text.replace('# policy.yaml\n', '')).toBe(readFileSync('deploy/policy.yaml', 'utf8'))
  })

  const topics = {
    read: 'job.mcp-bridge.read.x',
    write: 'job.mcp-bridge.write.x',
    exec: 'job.agent.exec.x',
  } as const
  const rows = [...readme.matchAll(/^\| (.+) \| (.+) \|$/gm)]
    .map(([, job = '', decision = '']) => [job, decision] as const)
    .filter(([job]) => /^(read|write|exec),|^`job\./.test(job))

  test('the table that decides arguments has all its rows', () => {
    expect(rows).toHaveLength(7)
  })

  test.each(rows)('%s: %s', (job, decision) => {
    const loaded = loadPolicy(readFileSync('deploy/policy.yaml', 'utf8'))
    if (!loaded.ok) expect.fail('the demo policy does not load')
    const kind = /^(read|write|exec),/.exec(job)?.[1] as keyof typeof topics | undefined
    const topic = kind === undefined ? job.replaceAll('`', '') : topics[kind]
    const risk_tags = /\[(.+)\]/.exec(job)?.[1]?.split(', ') ?? []
    const parsed = parseJob(
      { tenant: 'default', agent: 'demo' },
      topic,
      Buffer.from(JSON.stringify({ risk_tags })),
    )
    if (!parsed.ok) expect.fail(parsed.refusal.reason)
    const decided = evaluate(loaded.policy, parsed.job, { nowMs: 0, granted: [] }).decision
    expect(decision.split(/[ ,]/)[0]).toBe(decided.type)
    if (kind === 'exec') expect(decided.constraints).toEqual({ max_runtime_sec: 45, max_retries: 1 })
  })

  test('a decision that does not exist does not load, and the message says which was meant', () => {
    const text = readFileSync('deploy/policy.yaml', 'utf8').replace('decision: deny', 'decision: denny')
    expect(JSON.stringify(loadPolicy(text))).toMatch(/denny.*deny/)
  })

  test('the three curls of examples/approval-ops.sh run as they are, with the job id filled in, and the job succeeds', async () => {
    const script = readFileSync('examples/approval-ops.sh', 'utf8')
    const [submit = '', ...rest] = script.split('# Verify approval queue')
    const { job_id } = JSON.parse(await reader.bash(submit)) as { job_id: string }
    const said = await reader.bash(rest.join('').replace('<job_id>', job_id))
    expect(said).toContain(job_id)
    expect(await reader.bash(`curl -sS 'http://localhost:8081/api/v1/jobs/${job_id}?wait=10'`)).toContain(
      '"state":"SUCCEEDED"',
    )
  })
})
