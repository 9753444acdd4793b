import type { SuiteRun } from '../policy/suite.ts'

/** One suite's file and what came of it. */
export type Ran = { readonly file: string; readonly run: SuiteRun }

/** The outcome of suites as JUnit XML, which build servers show. There are no times in it: nothing here takes any. */
export function junitText(ran: readonly Ran[]): string {
  const suites = ran.map(({ file, run }) => {
    const failures = run.tried.filter(({ differences }) => differences.length > 0).length
    const cases = run.tried.map(({ name, differences }) => {
      const opening = `    <testcase classname="${escaped(file)}" name="${escaped(name)}"`
      if (differences.length === 0) return `${opening}/>`
      const why = escaped(differences.join('; '))
      return `${opening}>\n      <failure message="${why}"/>\n    </testcase>`
    })
    const head = `  <testsuite name="${escaped(file)}" tests="${run.tried.length}" failures="${failures}">`
    return [head, ...cases, '  </testsuite>'].join('\n')
  })
  return ['<?xml version="1.0" encoding="UTF-8"?>', '<testsuites>', ...suites, '</testsuites>', ''].join('\n')
}

/** What XML 1.0 cannot hold at all becomes a question mark. */
function escaped(text: string): string {
  return text
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '?')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll('\n', '&#10;')
}
