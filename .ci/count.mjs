// Reads what was counted of the test run and prints `N passed, N failed` as the last line. The exit code is 0 only if the run
// came to its end, ended well and had tests in it.
import { readFileSync } from 'node:fs'

const [file, exitCode] = process.argv.slice(2)
let tally = { passed: 0, failed: 0, skipped: 0, unloaded: [], done: false }
try {
  tally = JSON.parse(readFileSync(file, 'utf8'))
} catch (error) {
  console.log(`nothing was counted: ${error.message}`)
}
for (const line of tally.unloaded) console.log('did not load:', line)
if (!tally.done) console.log('the run did not come to its end; only what ended before is counted')
const broken = tally.failed + tally.unloaded.length
const failed = Number(exitCode) !== 0 || broken > 0 || tally.passed === 0 || !tally.done
// A run that failed without a failed test (the setup, a worker that died) must not read as a success.
const shown = failed ? Math.max(broken, 1) : 0
if (tally.skipped > 0) console.log(`${tally.skipped} skipped`)
console.log(`${tally.passed} passed, ${shown} failed`)
process.exit(failed ? 1 : 0)
