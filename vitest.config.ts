import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

import { findNats, findTestNats, type FoundNats } from './cli/dev/nats-binary.ts'

const files = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => join('test', file))
const onServer = files.filter((file) => startsServer(file))
const alone = files.filter((file) => !onServer.includes(file))

/**
 * Files that start a server run once per server: on Debian's, which is the floor, and on a current one; all others run
 * once. A file starts a server if it or a helper that it imports reads the variable that names the binary, so nobody
 * has to say it a second time.
 */
function startsServer(file: string, seen = new Set<string>()): boolean {
  if (seen.has(file) || !existsSync(file)) return false
  seen.add(file)
  const text = readFileSync(file, 'utf8')
  if (text.includes('SLUICE_TEST_NATS_BINARY')) return true
  const imports = [...text.matchAll(/^(?:import (?!type )|\} )[^\n]*from '(\.[^']+)'/gm)]
  return imports
    .map(([, specifier = '']) => join(dirname(file), specifier))
    .some((imported) => imported.startsWith('test') && startsServer(imported, seen))
}

const say = (line: string): void => console.error(line)

async function servers(): Promise<{ name: string; nats: FoundNats }[]> {
  const wanted = process.env['SLUICE_TEST_NATS_SERVER']
  const only = wanted === 'debian' || wanted === 'current' ? wanted : undefined
  const named = only === undefined ? (wanted ?? process.env['SLUICE_NATS_SERVER']) : undefined
  if (named !== undefined) {
    const search = await findNats({ ...process.env, SLUICE_NATS_SERVER: named }, say)
    if (!search.ok) throw new Error(search.lines.join('\n'))
    return [{ name: 'named', nats: search.nats }]
  }
  const found = await findTestNats(process.env, say, only)
  const both = [
    { name: 'debian', nats: found.debian },
    { name: 'current', nats: found.current },
  ].filter(({ name }) => only === undefined || only === name)
  const missing = both.filter(({ nats }) => nats === undefined).map(({ name }) => name)
  if (missing.length > 0)
    say(`nats-server: nothing runs on ${missing.join(' or ')}, there is none to be had here`)
  const there = both.flatMap(({ name, nats }) => (nats === undefined ? [] : [{ name, nats }]))
  if (there.length > 0) return there
  const any = await findNats(process.env, say)
  if (!any.ok) throw new Error(any.lines.join('\n'))
  return [{ name: 'found', nats: any.nats }]
}

/** What takes longest, longest first: whatever of it starts last is what everybody waits for at the end. */
const long = [
  'crash/kill-gateways',
  'crash/stop',
  'cli/drill',
  'cli/dev',
  'crash/timers',
  'docs',
  'bench',
  'gateway/approval-race',
  'crash/kill-server',
  'policy/reference',
  'crash/every-moment',
  'crash/throttle-outage',
  'soak',
  'crash/full',
  'nats/verify-mutations',
].map((name) => join('test', `${name}.test.ts`))

/** Long files first within each project, and the short ones that need no server at the very end. */
class LongestFirst extends BaseSequencer {
  override sort(specifications: TestSpecification[]): Promise<TestSpecification[]> {
    const placeOf = ({ project, moduleId }: TestSpecification): readonly [number, string, number] => {
      const place = long.findIndex((file) => moduleId.endsWith(file))
      return [project.name === 'alone' ? 1 : 0, project.name, place === -1 ? long.length : place]
    }
    const places = new Map(specifications.map((one) => [one, placeOf(one)]))
    const compare = (a: TestSpecification, b: TestSpecification): number => {
      const [aloneA, nameA, longA] = places.get(a) ?? [0, '', 0]
      const [aloneB, nameB, longB] = places.get(b) ?? [0, '', 0]
      return aloneA - aloneB || nameA.localeCompare(nameB) || longA - longB
    }
    return Promise.resolve(specifications.toSorted(compare))
  }
}

export default defineConfig(async () => ({
  test: {
    // On a busy machine everything takes ten times as long.
    testTimeout: 90_000,
    hookTimeout: 90_000,
    // A wait that ends well ends at once.
    expect: { poll: { timeout: 45_000 } },
    // One more than two cores: half of what the long ones do is wait.
    maxWorkers: 3,
    // Loading the gateway costs more than most files take: a worker loads it once and goes on to the next file of its project.
    isolate: false,
    sequence: { sequencer: LongestFirst },
    projects: [
      { extends: true as const, test: { name: 'alone', include: alone } },
      ...(await servers()).map(({ name, nats }) => ({
        extends: true as const,
        test: {
          name,
          include: onServer,
          env: { SLUICE_TEST_NATS_BINARY: nats.binary, SLUICE_TEST_NATS_NAME: name },
        },
      })),
    ],
  },
}))
