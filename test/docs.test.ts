import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { spawnLeashed, type Leashed } from '../cli/dev/leash.ts'
import { eventTypes, states } from '../audit/lifecycle.ts'
import { fileSchema, settingKeys } from '../gateway/settings.ts'
import { checkYaml } from '../gateway/yaml-file.ts'
import { canonicalJson } from '../policy/digest.ts'
import { evaluate } from '../policy/evaluate.ts'
import { parseJob } from '../policy/job.ts'
import { loadPolicy } from '../policy/load.ts'
import type { Ready } from './helpers/dev.ts'
import { fencedBlocks, type Fenced } from './helpers/fenced.ts'

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

const execute = promisify(execFile)
let dev: Leashed
let ready: Ready
let folder: string

/** On whatever server there is: that the drill and `sluice dev` work on each has tests of its own. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-docs-'))
  let said: (line: string) => void = () => undefined
  const up = new Promise<string>((resolve) => (said = resolve))
  dev = await spawnLeashed({
    command: process.execPath,
    args: ['cli/bootstrap.mjs', 'dev', '--json', '--data-dir', join(folder, 'data')],
    env: process.env,
    onLine: (line) => line.startsWith('{"ready"') && said(line),
  })
  const ended = dev.exited.then((code) => `sluice dev ended with ${code}`)
  ready = JSON.parse(await Promise.race([up, ended])) as Ready
}, 120_000)
afterAll(async () => {
  await dev.stop()
  await rm(folder, { recursive: true, force: true })
})

function findPages(): string[] {
  const files = readdirSync('docs', { recursive: true, encoding: 'utf8' })
  return files
    .filter((file) => file.endsWith('.md'))
    .map((file) => join('docs', file))
    .toSorted()
}

/** npx takes its time to find out that `sluice` is this very package; that it does has a test of its own. */
const sluiceWithoutNpx =
  'npx() { if [ "$1" = sluice ]; then shift; node cli/sluice.mjs "$@"; else command npx "$@"; fi; }'

/** Runs a script as a reader would who has pasted it, except that an HTTP error is an error. */
async function bash(script: string): Promise<string> {
  const prelude = [
    'set -euo pipefail',
    'curl() { command curl --fail-with-body "$@"; }',
    sluiceWithoutNpx,
  ].join('\n')
  const text = script.replaceAll('localhost:8081', new URL(ready.http_url).host)
  const env = { ...process.env, SLUICE_DATA_DIR: ready.data_dir }
  const { stdout } = await execute('bash', ['-c', `${prelude}\n${text}`], { env, timeout: 60_000 })
  return stdout
}

/** A page may show the kill switch; the next block is read by somebody who has not used it. */
async function liftStops(): Promise<void> {
  const control = `${ready.http_url}/api/v1/control`
  const { stops } = (await (await fetch(control)).json()) as { stops: { id: string; state: string }[] }
  for (const { id } of stops.filter(({ state }) => state !== 'resumed')) {
    const body = JSON.stringify({ id, stage: 'resumed', reason: 'the block is over' })
    const lifted = await fetch(`${control}/resume`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body,
    })
    if (!lifted.ok) throw new Error(await lifted.text())
  }
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
      await bash(lines.filter((line) => !notHere.test(line)).join('\n'))
      await liftStops()
    },
  )

  test('npx finds the command of this folder', { timeout: 60_000 }, async () => {
    expect(await bash('command npx sluice --help')).toContain('usage: sluice <command>')
  })

  test.each(marked('yaml'))('the file at %s loads', (_place, { text }) => {
    const name = /^# (\S+)/.exec(text)?.[1]
    if (name === 'policy.yaml') expect(loadPolicy(text)).toMatchObject({ ok: true })
    else if (name === 'sluice.yaml') expect(checkYaml(name, text, fileSchema)).toMatchObject({ ok: true })
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
    const said = await bash(block?.text ?? '')
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
    const { job_id } = JSON.parse(await bash(submit)) as { job_id: string }
    const said = await bash(rest.join('').replace('<job_id>', job_id))
    expect(said).toContain(job_id)
    expect(await bash(`curl -sS 'http://localhost:8081/api/v1/jobs/${job_id}?wait=10'`)).toContain(
      '"state":"SUCCEEDED"',
    )
  })
})

describe('reference', () => {
  const records = readFileSync('docs/records.md', 'utf8')
  const operations = readFileSync('docs/operations.md', 'utf8')

  test('every field of every record that the drill makes stands in docs/records.md', async () => {
    const credential = ready.credentials.find(({ role }) => role === 'auditor')
    if (credential === undefined) expect.fail('no auditor')
    const { user, password, inbox_prefix: inboxPrefix } = credential
    const auditor = await connect({ servers: ready.nats_url, user, pass: password, inboxPrefix })
    // The README's own command may have made them already.
    if ((await lastSequence(auditor)) < 30) await bash('npm run drill')
    const last = await lastSequence(auditor)
    const undocumented = new Set<string>()
    let seen = 0
    for (let seq = 1; seq <= last; seq++) {
      const record = (await auditor.request('gov.API.DIRECT.GET.AUDIT', JSON.stringify({ seq }))).json<
        Record<string, unknown>
      >()
      if (!('id' in record)) continue
      seen++
      for (const field of fieldsOf(record)) if (!documented(records, field)) undocumented.add(field)
    }
    await auditor.close()
    expect(seen).toBeGreaterThan(30)
    expect([...undocumented]).toEqual([])
  })

  test('every type of record stands in docs/records.md, with its event', () => {
    for (const [event, type] of Object.entries(eventTypes))
      expect(records).toMatch(
        new RegExp(`^\\| .*\`${type.replaceAll('.', '\\.')}\`.*\\| .*\`${event}\``, 'm'),
      )
  })

  test('every type that stands in the gateway stands in docs/records.md', () => {
    const source = readdirSync('gateway').map((file) => readFileSync(join('gateway', file), 'utf8'))
    const types = new Set(source.join('\n').match(/\bsluice\.[a-z_.]+\.v1\b/g) ?? [])
    expect(types.size).toBeGreaterThan(5)
    expect([...types].filter((type) => !records.includes(`\`${type}\``))).toEqual([])
  })

  test('every header of ours stands in docs/records.md, and no other', () => {
    const source = readdirSync('gateway').map((file) => readFileSync(join('gateway', file), 'utf8'))
    const named = (text: string): Set<string> => new Set(text.match(/Sluice-[A-Z][A-Za-z-]*[a-z]/g) ?? [])
    const inCode = named(source.join('\n'))
    // The gateway's own mark on what it stores for HTTP callers; nobody outside ever sees it.
    inCode.delete('Sluice-Message-Id')
    expect([...named(records)].toSorted()).toEqual([...inCode].toSorted())
  })

  test('every metric that docs/operations.md names is there', async () => {
    const metrics = await bash('curl -sS http://localhost:8081/metrics')
    const named = new Set(operations.match(/sluice_[a-z_]+/g) ?? [])
    expect([...named].filter((name) => !metrics.includes(`# TYPE ${name} `))).toEqual([])
  })

  test('every setting that docs/operations.md names is one', () => {
    const named = [...operations.matchAll(/`((?:limits\.)?[a-z]+(?:_[a-z]+)+)`/g)].map(
      ([, name = '']) => name,
    )
    const known: readonly string[] = settingKeys
    const others = named.filter((name) => !known.includes(name) && !name.startsWith('sluice_'))
    expect(others).toEqual(['max_retries', 'expires_in'].filter((name) => others.includes(name)))
  })

  test('every public state stands in a page', () => {
    const all = pages.map((page) => readFileSync(page, 'utf8')).join('\n')
    expect(
      states.filter(
        (state) => !new RegExp(`\\b${state}\\b`).test(all) && !records.includes(state.toLowerCase()),
      ),
    ).toEqual([])
  })
})

async function lastSequence(auditor: NatsConnection): Promise<number> {
  const info = (await auditor.request('gov.API.STREAM.INFO.AUDIT')).json<{ state: { last_seq: number } }>()
  return info.state.last_seq
}

/** `data.dispatch.pool`, ...; what stands in a list or under a key that an agent or a policy chose is one field. */
function fieldsOf(value: object, path = ''): string[] {
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) => {
    const field = path === '' ? key : `${path}.${key}`
    const open = [
      'data.input.labels',
      'data.decision.constraints',
      'data.input.truths',
      'data.approval.demands',
      'data.approval.votes',
    ]
    if (open.includes(field) || typeof inner !== 'object' || inner === null) return [field]
    if (Array.isArray(inner))
      return [
        field,
        ...inner.flatMap((one: unknown) =>
          typeof one === 'object' && one !== null ? fieldsOf(one, field) : [],
        ),
      ]
    return field === 'data' ? fieldsOf(inner, field) : [field, ...fieldsOf(inner, field)]
  })
}

/** A field has a row of its own, or its name stands in the row of what it is a part of. */
function documented(page: string, field: string): boolean {
  const parts = field.split('.')
  const row = parts.slice(0, parts[0] === 'data' ? 2 : 1).join('.')
  const text = page.split('\n').find((line) => line.startsWith('| `') && line.includes(`\`${row}\``))
  return text !== undefined && parts.slice(2).every((part) => text.includes(`\`${part}\``))
}
