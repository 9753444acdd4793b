import { createServer } from 'node:http'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { run as approval } from '../../cli/approval.ts'
import { run as control } from '../../cli/control.ts'
import { run as job } from '../../cli/job.ts'
import { run as trace } from '../../cli/trace.ts'
import { startGateway, type Gateway } from '../../gateway/gateway.ts'
import { coreWorker, testConfig, until } from '../helpers/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { testTerminal, type TestTerminal } from '../helpers/terminal.ts'

const read = 'job.mcp-bridge.read.get_ticket'
const write = 'job.mcp-bridge.write.update_ticket'

let nats: TestNats
let gateway: Gateway
let folder: string

beforeAll(async () => {
  nats = await startTestNats()
  const policy = `${await readFile('deploy/policy.yaml', 'utf8')}
  - id: slow-lane
    match: { topics: ["job.agent.slow.*"] }
    decision: throttle
    throttle: { rate: 1, per: 1h, max_wait: 1h }
`
  gateway = await startGateway(await testConfig(nats, policy))
  folder = await mkdtemp(join(tmpdir(), 'sluice-cli-'))
  await coreWorker(nats, 'helpdesk-1', (message) => {
    const { payload } = message.json<{ payload?: { say?: string; fail?: boolean } }>()
    return { body: payload?.say ?? '{"done":true}', status: payload?.fail === true ? 'error' : 'ok' }
  })
})
afterAll(async () => {
  await gateway.stop()
  await nats.stop()
  await rm(folder, { recursive: true })
})

type Done = { code: number; out: string; err: string; json: Record<string, unknown> }
type Run = (args: string[], terminal: TestTerminal) => Promise<number>

/** Runs a command against this file's gateway. */
async function sluice(run: Run, args: string[], input = ''): Promise<Done> {
  const terminal = testTerminal({ SLUICE_URL: gateway.httpUrl }, input)
  const code = await run(args, terminal)
  const out = terminal.outLines.join('\n')
  const json = out.startsWith('{') ? (JSON.parse(terminal.outLines.at(-1) ?? '') as Done['json']) : {}
  return { code, out, err: terminal.errLines.join('\n'), json }
}
const park = async (more: string[] = []): Promise<string> =>
  String((await sluice(job, ['submit', write, '--tag', 'prod', '-o', 'json', ...more])).json['job_id'])

describe('job', () => {
  test('submit --wait shows the decision, the end and the output', async () => {
    const done = await sluice(job, ['submit', read, '--payload', '{"say":"hello"}', '--wait'])
    expect(done.code).toBe(0)
    expect(done.out).toMatch(/^default\.\w+ {2}SUCCEEDED$/m)
    expect(done.out).toMatch(/decision {2}ALLOW by allow-low-risk-read/)
    expect(done.out).toMatch(/\n\nhello$/)
  })

  test.each([
    ['dispatched', [read], 0, 'DISPATCHED'],
    ['denied', [read, '--tag', 'destructive'], 3, 'DENIED'],
    ['denied by no rule', ['job.unknown.x'], 3, 'DENIED'],
    ['parked', [write, '--tag', 'prod', '--tag', 'night', '--label', 'a=b=c'], 4, 'PARKED'],
  ])('submit says by its exit code that a job is %s', async (_what, args, code, state) => {
    const done = await sluice(job, ['submit', ...args, '-o', 'json'])
    expect([done.code, done.json['state']]).toEqual([code, state])
  })

  test('submit says 7 for a job that waits for room', async () => {
    await sluice(job, ['submit', 'job.agent.slow.x'])
    const done = await sluice(job, ['submit', 'job.agent.slow.x'])
    expect(done.code).toBe(7)
    expect(done.out).toMatch(/THROTTLED[^]*runs at {3}in (59m|1h)/)
  })

  test('a failed job is 1, and 6 is for waiting too long', async () => {
    expect((await sluice(job, ['submit', read, '--payload', '{"fail":true}', '--wait'])).code).toBe(1)
    expect((await sluice(job, ['submit', write, '--tag', 'prod', '--wait', '--timeout', '0'])).code).toBe(6)
  })

  test('the same --id twice is one job, another job under it is a conflict', async () => {
    const [first, again] = [
      await sluice(job, ['submit', read, '--id', 'k1', '-o', 'json']),
      await sluice(job, ['submit', read, '--id', 'k1', '-o', 'json']),
    ]
    expect(again.json['job_id']).toBe(first.json['job_id'])
    expect((await sluice(job, ['submit', read, '--tag', 'x', '--id', 'k1'])).code).toBe(9)
  })

  test('--file sends a whole job byte for byte, from a file or from standard input', async () => {
    const text = `{"topic":"${read}",  "payload":{"say":"from a file"}}`
    await writeFile(join(folder, 'job.json'), text)
    expect((await sluice(job, ['submit', '--file', join(folder, 'job.json'), '--wait'])).out).toMatch(
      /from a file/,
    )
    expect((await sluice(job, ['submit', '--file', '-', '--wait'], text)).out).toMatch(/from a file/)
    expect((await sluice(job, ['submit', '--file', '-'], '{"topic":')).code).toBe(1)
  })

  test('what the gateway refuses is said in its own words', async () => {
    const done = await sluice(job, ['submit', 'not.a.topic'])
    expect(done.code).toBe(1)
    expect(done.err).toMatch(/The body is not a job: the topic must start with "job\."/)
    expect((await sluice(job, ['submit', read, '--tenant', 'acme'])).code).toBe(77)
    expect((await sluice(job, ['submit', 'not.a.topic', '-o', 'json'])).json).toMatchObject({
      code: 'invalid_job',
    })
  })

  test('get shows a job, watch follows it, cancel ends it', async () => {
    const id = await park()
    const shown = await sluice(job, ['get', id])
    expect(shown.code).toBe(0)
    expect(shown.out).toMatch(new RegExp(`${id} {2}PARKED[^]*sluice approval approve ${id}`))
    const watching = sluice(job, ['watch', id])
    expect((await sluice(job, ['cancel', id, '--note', 'changed my mind'])).out).toBe(`${id}  CANCELLED`)
    const watched = await watching
    expect(watched.code).toBe(1)
    expect(watched.out).toMatch(/CANCELLED/)
    expect((await sluice(job, ['cancel', id])).code).toBe(9)
    expect((await sluice(job, ['get', 'default.m0000000000000000000000000000000'])).code).toBe(1)
    expect((await sluice(job, ['get', '<job_id>'])).err).toMatch(/placeholder/)
  })

  test('an output cannot drive the terminal', async () => {
    const done = await sluice(job, [
      'submit',
      read,
      '--payload',
      JSON.stringify({ say: 'a\u001b[2Jb\u202ec' }),
      '--wait',
    ])
    expect(done.out).toMatch(/a\\u\{1b\}\[2Jb\\u\{202e\}c$/)
  })
})

describe('approval', () => {
  test('ls, show and approve: the decision is bound to what was shown', async () => {
    const id = await park(['--payload', '{"id":"T-1"}', '--label', 'mcp.action=write'])
    const listed = await sluice(approval, ['ls'])
    expect(listed.out).toMatch(
      new RegExp(`${id} +PARKED +${write} +default/demo +prod +require-approval-prod-write +(59m|1h)`),
    )
    const shown = await sluice(approval, ['show', id])
    for (const fact of [
      /"id": "T-1"/,
      /agent demo of tenant default/,
      /Production writes require human review/,
      /mcp\.action=write/,
      /if nobody acts expires in (59m|1h).* -> not run -> the agent is told/,
    ])
      expect(shown.out).toMatch(fact)
    const done = await sluice(approval, ['approve', id, '--note', 'ok', '-o', 'json'])
    expect(done.code).toBe(0)
    expect(done.json).toMatchObject({
      job_id: id,
      resolution: { by: 'demo-approver', note: 'ok', binding: 'client' },
    })
    expect(done.err).toMatch(/"id": "T-1"/)
    expect((await sluice(job, ['watch', id])).code).toBe(0)
    expect((await sluice(approval, ['approve', id])).code).toBe(9)
  })

  test('reject is 0 for the approver and 5 for whoever watches the job', async () => {
    const id = await park()
    const watching = sluice(job, ['watch', id])
    expect((await sluice(approval, ['reject', id, '--note', 'no'])).out).toBe(
      `${id}  REJECTED  rejected by demo-approver`,
    )
    expect((await watching).code).toBe(5)
  })

  test('a decision about something else than what is parked is a conflict', async () => {
    const id = await park()
    expect((await sluice(approval, ['approve', id, '--job-hash', 'f'.repeat(64)])).code).toBe(9)
    expect((await sluice(approval, ['approve', id, '--policy-snapshot', 'other'])).code).toBe(9)
    expect((await sluice(job, ['get', id])).out).toMatch(/PARKED/)
    await sluice(approval, ['reject', id])
  })

  test('ls --all has the resolved ones, and --limit says that there is more', async () => {
    const id = await park()
    await sluice(approval, ['reject', id])
    const all = await sluice(approval, ['ls', '--all', '-o', 'json'])
    const items = all.json['items'] as { job_id: string; state: string }[]
    expect(items.find(({ job_id }) => job_id === id)?.state).toBe('REJECTED')
    expect((await sluice(approval, ['ls', '--all', '--limit', '1'])).err).toMatch(/more than 1/)
  })

  test('watch shows what waits and what comes, each once, until it is stopped', async () => {
    const first = await park()
    const terminal = testTerminal({ SLUICE_URL: gateway.httpUrl })
    const watching = approval(['watch', '-o', 'json'], terminal)
    const ids = (): unknown[] =>
      terminal.outLines.map((line) => (JSON.parse(line) as { job_id: string }).job_id)
    await until(() => ids().includes(first))
    const second = await park()
    await until(() => ids().includes(second))
    terminal.stop()
    expect(await watching).toBe(0)
    expect(ids().filter((id) => id === first)).toHaveLength(1)
    for (const id of [first, second]) await sluice(approval, ['reject', id])
  })

  test('a payload of many lines is cut, and its text cannot drive the terminal', async () => {
    const payload = JSON.stringify({
      rows: Array.from({ length: 100 }, (_, n) => n),
      text: `x\u001b[31m${'y'.repeat(500)}`,
    })
    const id = await park(['--payload', JSON.stringify({ ...JSON.parse(payload), text: undefined })])
    expect((await sluice(approval, ['show', id])).out).toMatch(
      /lines more, \d+ bytes in all \(-o json shows everything\)/,
    )
    const other = await park([
      '--payload',
      JSON.stringify({ text: '\u202e\u001b[31m', long: 'y'.repeat(500) }),
    ])
    const shown = await sluice(approval, ['show', other])
    expect(shown.out).toMatch(/\\u\{202e\}/)
    expect(shown.out).toMatch(/\(500 bytes\)/)
    expect(shown.out).not.toContain('\u001b')
    for (const each of [id, other]) await sluice(approval, ['reject', each])
  })
})

describe('trace', () => {
  test('draws the story of a trace or of a job', async () => {
    const id = await park(['--trace-id', 'cli-1'])
    expect((await sluice(trace, ['cli-1'])).err).toMatch(/still open/)
    await sluice(approval, ['approve', id, '--note', 'go \u001b[1mnow'])
    await sluice(job, ['watch', id])
    const drawn = await sluice(trace, ['cli-1'])
    expect(drawn.code).toBe(0)
    expect(drawn.out).toMatch(
      /RECEIVED > PARKED[^]*PARKED > DISPATCHED[^]*demo-approver[^]*DISPATCHED > SUCCEEDED/,
    )
    expect(drawn.out).toMatch(/go \\u\{1b\}\[1mnow/)
    expect(drawn.err).toMatch(/^complete/)
    expect((await sluice(trace, [id])).out).toBe(drawn.out)
    expect((await sluice(trace, [id, '-o', 'json'])).json).toMatchObject({
      trace_id: 'cli-1',
      complete: true,
    })
    expect((await sluice(trace, ['cli-1', '--tenant', 'acme'])).code).toBe(1)
    expect((await sluice(trace, ['nobody-used-this'])).err).toMatch(/no job on record/)
  })
})

describe('finding a gateway', () => {
  const get = ['get', 'default.m0000000000000000000000000000000']
  const attempt = async (args: string[], env: NodeJS.ProcessEnv): Promise<[number, string]> => {
    const terminal = testTerminal(env)
    return [await job(args, terminal), terminal.errLines.join('\n')]
  }

  test('--url before SLUICE_URL before ready.json of the data directory', async () => {
    await writeFile(join(folder, 'ready.json'), JSON.stringify({ http_url: gateway.httpUrl }))
    const nowhere = 'http://127.0.0.1:1'
    const found = 1
    expect((await attempt([...get, '--url', gateway.httpUrl], { SLUICE_URL: nowhere }))[0]).toBe(found)
    expect((await attempt(get, { SLUICE_URL: gateway.httpUrl, SLUICE_DATA_DIR: '/nowhere' }))[0]).toBe(found)
    expect((await attempt(get, { SLUICE_DATA_DIR: folder }))[0]).toBe(found)
    expect((await attempt([...get, '--data-dir', folder], { SLUICE_DATA_DIR: '/nowhere' }))[0]).toBe(found)
    expect((await attempt(get, { SLUICE_URL: nowhere }))[0]).toBe(69)
  })

  test('nobody there, somebody else there, or nothing known is 69 and says what to do', async () => {
    expect(await attempt(get, { SLUICE_DATA_DIR: '/nowhere' })).toEqual([
      69,
      expect.stringMatching(/npm start.*--url/),
    ])
    expect(await attempt([...get, '--url', 'ftp://x'], {})).toEqual([69, expect.stringMatching(/no address/)])
    const other = createServer((_request, response) => response.end('<html>'))
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const { port } = other.address() as { port: number }
    expect(await attempt([...get, '--url', `http://127.0.0.1:${port}`], {})).toEqual([
      69,
      expect.stringMatching(/no gateway/),
    ])
    other.close()
    await writeFile(join(folder, 'ready.json'), '{"ready":')
    expect((await attempt(get, { SLUICE_DATA_DIR: folder }))[0]).toBe(69)
  })
})

describe('control', () => {
  test('stop says what it covers, ls shows it, a new job is denied, and resume lifts it', async () => {
    expect((await sluice(control, ['stop', '--all'])).code).toBe(2)
    expect((await sluice(control, ['stop', '--reason', 'x'])).code).toBe(2)
    const stop = ['stop', '--topic', 'job.agent.halted.*', '--reason', 'a test', '-o', 'json']
    const { json } = await sluice(control, stop)
    expect(json).toMatchObject({ state: 'stopped', by: 'demo-approver' })
    expect((await sluice(control, ['ls'])).out).toContain('topic job.agent.halted.*')
    const denied = await sluice(job, ['submit', 'job.agent.halted.x', '-o', 'json'])
    expect(denied).toMatchObject({ code: 3, json: { decision: { rule_id: 'sluice.stopped' } } })
    const id = String(json['id'])
    expect((await sluice(control, ['resume', id, '--reason', 'done'])).code).toBe(0)
    expect((await sluice(control, ['ls'])).err).toContain('nothing is stopped')
    expect((await sluice(control, ['ls', '--all'])).out).toContain('resumed')
    expect((await sluice(control, ['resume', 'nobody', '--reason', 'x'])).code).not.toBe(0)
  })
})
