import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

import { describe, expect, test } from 'vitest'

import { version } from '../gateway/version.ts'

/** What review would say twice is said here instead. */
type Source = { file: string; folder: string; lines: string[]; imports: string[] }

const sourceFolders = ['policy', 'audit', 'gateway', 'cli', 'examples', 'bench', 'test']
const sources: Source[] = sourceFolders
  .flatMap(filesIn)
  .filter((file) => /\.(ts|mjs)$/.test(file))
  .map(read)
const ours = sources.filter(({ folder }) => ['policy', 'audit', 'gateway', 'cli'].includes(folder))

/** Files that name something that must not be named: all that is committed as text. */
const texts = [
  ...sources.map(({ file }) => file),
  ...filesIn('docs').filter((file) => file.endsWith('.md')),
  ...filesIn('deploy'),
  ...readdirSync('.').filter(
    (file) => /\.(md|conf|ts|json|yaml)$/.test(file) && file !== 'package-lock.json',
  ),
]

describe('folders depend on each other in one direction', () => {
  const allowed: Record<string, { folders: string[]; packages: RegExp }> = {
    policy: { folders: ['policy'], packages: /^(zod|yaml|node:crypto)$/ },
    audit: { folders: ['policy', 'audit'], packages: /^(zod|node:crypto)$/ },
    gateway: { folders: ['policy', 'audit', 'gateway'], packages: /./ },
    // What is compiled is what the plain JavaScript in there starts.
    cli: {
      folders: ['policy', 'audit', 'gateway', 'cli', 'dist'],
      packages: /^(node:|yaml$|zod$|@nats-io\/)/,
    },
    // A worker checks its tickets with what the gate signs them with.
    examples: { folders: ['examples', 'audit'], packages: /./ },
  }

  test.each(Object.keys(allowed))('%s imports only what it may', (folder) => {
    const { folders = [], packages = /./ } = allowed[folder] ?? {}
    const wrong = sources
      .filter((source) => source.folder === folder)
      .flatMap(({ file, imports }) =>
        imports
          .filter((name) => !mayImport(file, name, folders, packages))
          .map((name) => `${file} imports ${name}`),
      )
    expect(wrong).toEqual([])
  })

  // The parts of a policy know each other by types.
  test.each(['audit', 'gateway', 'cli'])(
    'in %s no file needs one that needs it, types included',
    (folder) => {
      const files = new Map(
        sources
          .filter((source) => source.folder === folder)
          .map(({ file, imports }) => [file, imports.map((name) => join(dirname(file), name))]),
      )
      // Whoever imports nothing that is left leaves, until nobody can: who stays goes round in a circle, or needs one who does.
      for (let before = -1; before !== files.size;) {
        before = files.size
        for (const [file, imports] of files) if (!imports.some((name) => files.has(name))) files.delete(file)
      }
      expect([...files.keys()]).toEqual([])
    },
  )

  test('there is something to check in every folder', () => {
    for (const folder of sourceFolders) expect(sources.some((source) => source.folder === folder)).toBe(true)
  })
})

test('policy and audit are pure: no clock, chance, environment, timer or console', () => {
  const impure =
    /\bDate\.now\b|\bnew Date\(\)|\bperformance\b|\bMath\.random\b|\brandom(Bytes|UUID|Int|FillSync)\b|\bprocess\b\.|\bset(Timeout|Interval|Immediate)\b|\bconsole\b|\bfetch\(/
  const wrong = sources
    .filter(({ folder }) => folder === 'policy' || folder === 'audit')
    .flatMap((source) => linesWith(source, impure))
  expect(wrong).toEqual([])
})

test('each outside thing is known to one file', () => {
  const edges: [RegExp, RegExp][] = [
    // The drill and the proof play people who know nothing of us, so they speak NATS as such people would.
    [/^(@nats-io\/|nats$)/, /^(gateway\/bus\/bus|cli\/drill\/outsider|cli\/nats-probe)\.ts$/],
    [/^(hono|@hono\/)/, /^gateway\/http\//],
    [/^node:https?$/, /^gateway\/http\//],
    [/^pino$/, /^gateway\/log\.ts$/],
    [/^prom-client$/, /^gateway\/metrics\.ts$/],
  ]
  const wrong = ours.flatMap(({ file, imports }) =>
    imports.flatMap((name) =>
      edges
        .filter(([thing, home]) => thing.test(name) && !home.test(file))
        .map(() => `${file} imports ${name}`),
    ),
  )
  expect(wrong).toEqual([])
})

test('a file can be held in the head: 300 lines, and a table of tests 400', () => {
  const long = sources
    .filter(({ file, lines }) => lines.length > (file.endsWith('.test.ts') ? 400 : 300))
    .map(({ file, lines }) => `${file} has ${lines.length} lines`)
  expect(long).toEqual([])
})

test('no switch of the gate has a default: a new case must fail to compile', () => {
  const wrong = sources
    .filter(({ folder }) => ['audit', 'gateway', 'cli'].includes(folder))
    .flatMap((source) => linesWith(source, /^\s*default:/))
  expect(wrong).toEqual([])
})

test('files are named after what they know', () => {
  const vague = /(^|[-/])(utils?|helpers?|manager|common|misc|shared)\.(ts|mjs)$|\/(index|types)\.ts$/
  expect(sources.map(({ file }) => file).filter((file) => vague.test(file))).toEqual([])
})

test('imports of our own files say their extension, and types are imported as types', () => {
  const wrong = sources.flatMap(({ file, imports }) =>
    imports
      .filter((name) => name.startsWith('.') && !/\.(ts|mjs|js)$/.test(name))
      .map((name) => `${file}: ${name}`),
  )
  expect(wrong).toEqual([])
})

test('no test is alone or asleep, and nothing is left for later', () => {
  const alone = new RegExp(['\\.', 'only\\('].join(''))
  const later = new RegExp(
    `\\b(${[
      ['TO', 'DO'],
      ['FIX', 'ME'],
      ['X', 'XX'],
    ]
      .map((parts) => parts.join(''))
      .join('|')})\\b`,
  )
  const wrong = sources.flatMap((source) => [...linesWith(source, alone), ...linesWith(source, later)])
  expect(wrong).toEqual([])
})

test('nothing names the places where it was made', () => {
  // In pieces, because this file is read too.
  const words = [
    ['/wo', 'rk/(main|shared|notes)'],
    ['resea', 'rch/'],
    ['busg', 'ate'],
    ['farm', '-bench'],
    ['farm', '-studio'],
    ['registry', '\\.npmjs'],
    ['proxy', '\\.golang'],
    ['deb', '\\.debian'],
    ['crates', '\\.io'],
    ['pypi', '\\.org'],
  ]
  const banned = new RegExp(words.map((parts) => parts.join('')).join('|'), 'i')
  expect(texts.flatMap((file) => linesWith(read(file), banned))).toEqual([])
})

test('the version on every record is the version of the package', () => {
  expect((JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }).version).toBe(version)
})

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

function read(file: string): Source {
  const text = readFileSync(file, 'utf8')
  const found = [
    ...text.matchAll(/^(?:import|export)\b[^'"]*?from '([^']+)'|^import '([^']+)'|\bimport\('([^']+)'\)/gm),
  ]
  const imports = found.map(([, from, bare, dynamic]) => from ?? bare ?? dynamic ?? '')
  return { file, folder: file.split('/')[0] ?? '', lines: text.split('\n'), imports }
}

function linesWith({ file, lines }: Source, pattern: RegExp): string[] {
  return lines.flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1} ${line.trim()}`] : []))
}

function mayImport(file: string, name: string, folders: readonly string[], packages: RegExp): boolean {
  if (!name.startsWith('.')) return packages.test(name)
  return folders.includes(join(dirname(file), name).split('/')[0] ?? '')
}
