// Reads the report of the test run and prints `N passed, N failed` as the last line. The exit code is the run's own,
// or 1 if the run says that it went well but tells of no test.
import { readFileSync } from 'node:fs'

const [file, exitCode] = process.argv.slice(2)
let counts = { passed: 0, failed: 0, skipped: 0 }
try {
  const report = JSON.parse(readFileSync(file, 'utf8'))
  // A file that does not even load has no tests in it, and is a failure all the same.
  const unloaded = report.testResults.filter(
    (result) => result.status === 'failed' && result.assertionResults.length === 0,
  )
  for (const result of unloaded) console.log(`did not load: ${result.name}\n${result.message}`)
  counts = {
    passed: report.numPassedTests,
    failed: report.numFailedTests + unloaded.length,
    skipped: report.numPendingTests + report.numTodoTests,
  }
} catch (error) {
  console.log(`there is no report of the tests: ${error.message}`)
}
const failed = Number(exitCode) !== 0 || counts.failed > 0 || counts.passed === 0
// A run that failed without a failed test (the setup, say) must not read as a success.
const shown = failed ? Math.max(counts.failed, 1) : 0
console.log(
  `${counts.passed} passed, ${shown} failed${counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''}`,
)
process.exit(failed ? 1 : 0)
