import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { loadPolicy, loadPolicyFiles } from '../../policy/load.ts'

const here = new URL('./', import.meta.url)
const rulesOnly = (rules: string) => `version: v1\nrules:\n${rules}`
const oneRule = rulesOnly('  - {id: r, match: {}, decision: allow}\n')

function load(text: string) {
  const loaded = loadPolicy(text)
  if (!loaded.ok) throw new Error(loaded.problems.map((problem) => problem.message).join('\n'))
  return loaded.policy
}

describe('a broken policy does not load, and every mistake is named with its place', () => {
  const names = readdirSync(new URL('bad/', here)).filter((name) => name !== 'empty.yaml')

  it.each(names)('%s', (name) => {
    // Each file begins with what must be said about it: `# wants <line>:<column> <code> <message>`.
    const text = readFileSync(new URL(`bad/${name}`, here), 'utf8')
    const wanted = text
      .split('\n')
      .flatMap((line) => (line.startsWith('# wants ') ? line.slice('# wants '.length) : []))
    const loaded = loadPolicy(text)
    const said = loaded.ok
      ? []
      : loaded.problems.map(
          (problem) => `${problem.line}:${problem.column} ${problem.code} ${problem.message}`,
        )
    expect(wanted.length).toBeGreaterThan(0)
    expect(said).toEqual(wanted)
  })

  it('empty.yaml', () => {
    expect(loadPolicy('')).toEqual({
      ok: false,
      problems: [
        {
          code: 'policy-empty',
          message: 'the file is empty; a policy needs version and rules',
          line: 1,
          column: 1,
        },
      ],
    })
  })

  it('brackets without end', () => {
    expect(loadPolicy('['.repeat(5_000))).toMatchObject({ ok: false })
    expect(loadPolicy(`${'[ '.repeat(5_000)}${'] '.repeat(5_000)}`)).toMatchObject({ ok: false })
  })

  it('names the file when it was told its name, and keeps the suggestion apart', () => {
    expect(loadPolicy(oneRule.replace('allow', 'alow'), 'prod.yaml')).toMatchObject({
      problems: [{ file: 'prod.yaml', line: 3, column: 34, suggestion: 'allow', path: 'rules[0].decision' }],
    })
  })
})

describe('a policy', () => {
  it("is the mission's own file, byte for byte, in deploy/policy.yaml", () => {
    const policy = load(readFileSync(new URL('../../deploy/policy.yaml', here), 'utf8'))
    expect(policy.ruleCount).toBe(4)
    expect(policy.sourceHash).toBe('02ea7af2d6e89f033f0f1e001d73807831ab2a31ebb32c0f724852b050a70415')
  })

  it('has the same snapshot whatever the order, the comments and the descriptions', () => {
    const a = load(
      rulesOnly(
        '  - {id: a, match: {topics: [job.x, job.y]}, decision: allow}\n  - {id: b, match: {}, decision: deny}\n',
      ),
    )
    const b = load(
      rulesOnly(
        '  # first the denial\n  - {decision: deny, match: {}, id: b, owner: ops, description: why}\n  - {id: a, match: {topics: [job.y, job.x, job.y]}, decision: allow}\n',
      ),
    )
    expect(b.snapshot).toBe(a.snapshot)
    expect(b.sourceHash).not.toBe(a.sourceHash)
  })

  it.each([
    ['another reason', '{id: r, match: {}, decision: allow, reason: x}'],
    ['another id', '{id: s, match: {}, decision: allow}'],
    ['a floor', '{id: r, match: {}, decision: allow, floor: true}'],
    ['another decision', '{id: r, match: {}, decision: deny}'],
    ['a condition', '{id: r, match: {tenants: [a]}, decision: allow}'],
    ['an exception', '{id: r, match: {}, unless: {tenants: [a]}, decision: allow}'],
    ['an output block', '{id: r, match: {}, decision: allow, output: {quarantine: [personal]}}'],
  ])('has another snapshot for %s', (_, rule) => {
    expect(load(rulesOnly(`  - ${rule}\n`)).snapshot).not.toBe(load(oneRule).snapshot)
  })

  it('may use anchors in moderation', () => {
    const text = rulesOnly(
      '  - {id: a, match: &m {topics: [job.x]}, decision: allow}\n  - {id: b, match: *m, decision: deny}\n',
    )
    expect(load(text).rules[1]?.match).toEqual({ topics: ['job.x'] })
  })
})

describe('several files', () => {
  const base = { name: 'base.yaml', text: oneRule }
  const more = {
    name: 'more.yaml',
    text: rulesOnly('  - {id: s, match: {topics: [job.x]}, decision: deny}\n'),
  }
  const overlay = {
    name: 'acme.yaml',
    text: 'version: v1\noverlay: {tenants: [acme]}\nrules:\n  - {id: t, match: {topics: [job.y]}, decision: require_approval}\n',
  }

  it('mean the same in any order', () => {
    const hashes = [
      [base, more, overlay],
      [overlay, more, base],
      [more, base, overlay],
    ].map((files) => {
      const loaded = loadPolicyFiles(files)
      if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
      return `${loaded.policy.snapshot} ${loaded.policy.sourceHash}`
    })
    expect(new Set(hashes).size).toBe(1)
  })

  it('may not use an id twice, and the message says where the first one is', () => {
    expect(loadPolicyFiles([base, { name: 'copy.yaml', text: oneRule }])).toEqual({
      ok: false,
      problems: [
        {
          code: 'policy-duplicate-rule',
          message: 'the rule id "r" is already used on line 3 of base.yaml',
          path: 'rules[0].id',
          file: 'copy.yaml',
          line: 3,
          column: 10,
        },
      ],
    })
  })

  it('report the mistakes of every file at once', () => {
    const loaded = loadPolicyFiles([
      { name: 'a.yaml', text: '' },
      { name: 'b.yaml', text: oneRule.replace('v1', 'v3') },
    ])
    expect(loaded.ok ? [] : loaded.problems.map((problem) => problem.file)).toEqual(['a.yaml', 'b.yaml'])
  })
})
