import { readFile, stat, utimes, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'

import { spawnLeashed, type Leashed } from '../../cli/dev/leash.ts'
import { servingWords } from '../../cli/serving-words.ts'
import { ensureBuilt } from '../../cli/setup.mjs'
import { createKeys } from '../../gateway/config/keys.ts'
import { apiOf, type ApiCall } from '../helpers/api.ts'
import { until } from '../helpers/gateway.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { scratchFolder } from '../helpers/scratch.ts'

let nats: TestNats
let folder: Awaited<ReturnType<typeof scratchFolder>>
let serving: Leashed
let api: ApiCall
let policy: string
let small: string

beforeAll(async () => {
  await ensureBuilt()
  folder = await scratchFolder()
  nats = await startTestNats()
  await createKeys(join(folder.path, 'keys.json'), ['default', 'acme'])
  policy = join(folder.path, 'policy.yaml')
  small = await readFile('deploy/policy.yaml', 'utf8')
  await writeFile(policy, small)
  const lines: string[] = []
  const settings = {
    profile: 'dev',
    'nats-url': nats.url,
    'http-port': '0',
    policy,
    topology: resolve('deploy/topology.yaml'),
    keys: join(folder.path, 'keys.json'),
  }
  serving = await spawnLeashed({
    command: process.execPath,
    args: [
      resolve('dist/cli/main.js'),
      'serve',
      ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
    ],
    env: { PATH: process.env['PATH'], SLUICE_NATS_PASSWORD: nats.passwords['gateway'] },
    cwd: folder.path,
    onLine: (line) => lines.push(line),
  })
  const line = await until(() => lines.find((one) => one.startsWith(servingWords)))
  api = apiOf(line.slice(servingWords.length).trim())
})
afterAll(async () => {
  await serving.stop()
  await nats.stop()
  await folder.remove()
})

const snapshot = async (): Promise<string> =>
  String((await api('GET', '/api/v1/policy/snapshots')).body['policy_snapshot'])

/** Waits until another snapshot than the given one decides. */
const after = (before: string): Promise<string> =>
  until(async () => {
    const now = await snapshot()
    return now !== before && now
  })

test('a policy that is loaded in a thread of its own comes into force whole, and its text is kept', async () => {
  const before = await snapshot()
  const rules = Array.from(
    { length: 600 },
    (_, at) => `  - id: large-${at}\n    match: { topics: [job.large.t${at}] }\n    decision: deny\n`,
  )
  const large = `${small.trimEnd()}\n${rules.join('')}`
  await writeFile(policy, large)
  const now = await after(before)
  const kept = await api('GET', `/api/v1/policy/snapshots/${now.slice(0, 12)}`)
  expect(kept.body['policy'] === large).toBe(true)
  for (const at of [0, 99, 100, 599]) {
    const decided = await api('POST', '/api/v1/policy/evaluate', { topic: `job.large.t${at}` })
    expect(JSON.stringify(decided.body)).toContain(`"large-${at}"`)
  }
})

test('SIGHUP reads the file although nothing about it looks changed, and a bad one leaves the last good policy in force', async () => {
  const before = await snapshot()
  const text = await readFile(policy, 'utf8')
  // The look at the file several times a second compares size and time, and neither changes.
  const { atime, mtime } = await stat(policy)
  const restored = new Date(Math.floor(mtime.getTime() / 1_000) * 1_000)
  await utimes(policy, atime, restored)
  await writeFile(policy, text.replace('max_runtime_sec: 45', 'max_runtime_sec: 44'))
  await utimes(policy, atime, restored)
  serving.signal('SIGHUP')
  const now = await after(before)
  await writeFile(policy, small.replace('decision: deny', 'decision: denny'))
  serving.signal('SIGHUP')
  await until(async () => (await api('GET', '/readyz?verbose')).text.includes('stale'))
  expect(await snapshot()).toBe(now)
})
