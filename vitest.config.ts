import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { defineConfig } from 'vitest/config'

import { findNats, findTestNats, type FoundNats } from './cli/dev/nats-binary.ts'

/**
 * Files that start a server run once per server: on Debian's, which is the floor, and on a current one. All others run
 * once. Whether a file starts a server is seen from its import of the helper, so nobody has to say it twice.
 */
const serverHelper = /from '[./]*helpers\/nats-server\.ts'/

const files = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => join('test', file))
const onServer = files.filter((file) => serverHelper.test(readFileSync(file, 'utf8')))
const alone = files.filter((file) => !onServer.includes(file))

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

export default defineConfig(async () => ({
  test: {
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Two cores, and every file on a server has a server of its own.
    maxWorkers: 2,
    projects: [
      { extends: true as const, test: { name: 'alone', include: alone } },
      ...(await servers()).map(({ name, nats }) => ({
        extends: true as const,
        test: {
          name,
          include: onServer,
          env: { SLUICE_TEST_NATS_BINARY: nats.binary },
        },
      })),
    ],
  },
}))
