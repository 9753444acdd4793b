import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { exitCodes } from '../../cli/exit-codes.ts'
import { exitCodeOfProblem } from '../../cli/outcome-codes.ts'
import { access } from '../../gateway/http/access.ts'
import { problems } from '../../gateway/http/problem.ts'
import { createMetrics } from '../../gateway/metrics.ts'
import { resolveCodes, resolveProblem } from '../../gateway/http/problem-details.ts'
import type { ResolveCode } from '../../gateway/resolve.ts'

const http = await readFile('docs/http.md', 'utf8')
const cli = await readFile('docs/cli.md', 'utf8')
const approvals = await readFile('docs/approvals.md', 'utf8')

describe('docs/http.md', () => {
  const rows = [...http.matchAll(/^\| (\d{3}) \| (.+) \|$/gm)]
  const documented = new Map(
    rows.flatMap(([, status = '', text = '']) =>
      [...text.matchAll(/`([a-z_]+)`(?=[ ,;|(]|$)/g)].map(([, code = '']) => [code, Number(status)] as const),
    ),
  )

  test('has every problem with its status', () => {
    for (const [code, [status]] of Object.entries(problems))
      expect([code, documented.get(code)]).toEqual([code, status])
  })

  test('says of every other code in its table what a refused decision says', () => {
    const others = [...documented.keys()].filter(
      (code) => !Object.hasOwn(problems, code) && code !== 'strict',
    )
    for (const code of others)
      expect(resolveProblem(code as ResolveCode, '').status).toBe(documented.get(code))
    expect(others).toContain('rebound')
  })

  test('has every route with the roles it is for, and no other', () => {
    const rows = [...http.matchAll(/^\| `(GET|POST) (\/\S+)` \| ([a-z, ]+?)( with `tenants: all`)? \|$/gm)]
    const listed = rows.map(([, method, path, who, all]) => [
      `${method} ${path}`,
      who === 'anybody'
        ? who
        : { roles: (who ?? '').split(', '), tenants: all === undefined ? 'own' : 'all' },
    ])
    expect(Object.fromEntries(listed)).toEqual(access)
  })

  test('has every metric of ours with its labels', async () => {
    const text = await createMetrics().text()
    const names = [...text.matchAll(/^# TYPE (sluice_\w+) /gm)].map(([, name = '']) => name)
    const listed = [...http.matchAll(/^\| `(sluice_\w+)[`{]/gm)].map(([, name = '']) => name)
    expect(listed.toSorted()).toEqual(names.toSorted())
  })
})

test('docs/approvals.md has every code that a decision is refused with, with its status and its exit code', () => {
  const rows = [...approvals.matchAll(/^\| (\d{3}) \| `([a-z_]+)` \| (\d+) \|/gm)].map(
    ([, status, code = '', exit]) => [Number(status), code, Number(exit)] as const,
  )
  for (const [status, code, exit] of rows)
    expect([code, exitCodeOfProblem(status, code)]).toEqual([code, exit])
  const decided = rows.filter(([, code]) => code !== 'invalid')
  for (const [status, code] of decided)
    expect([code, resolveProblem(code as ResolveCode, '').status]).toEqual([code, status])
  const documented = decided.map(([, code]) => code).toSorted()
  expect(documented).toEqual(resolveCodes.filter((code) => code !== 'not_cancellable').toSorted())
})

test('docs/cli.md has every exit code and no other', () => {
  const listed = [...cli.matchAll(/^\| (\d+) \|/gm)].map(([, code]) => Number(code))
  expect(listed.toSorted((a, b) => a - b)).toEqual(Object.values(exitCodes).toSorted((a, b) => a - b))
})
