// A reporter for vitest that keeps count on disk while the tests run: what has been counted outlives a run that crashes or is
// ended. Nothing is printed here.
import { writeFileSync } from 'node:fs'

const file = '.sluice/ci-tally.json'

export default class Tally {
  tally = { passed: 0, failed: 0, skipped: 0, unloaded: [], done: false }

  onTestModuleEnd(module) {
    for (const test of module.children.allTests()) {
      const { state } = test.result()
      this.tally[state === 'pending' ? 'skipped' : state]++
    }
    // A file that does not even load has no tests in it, and is a failure all the same.
    const errors = module.errors().map(({ message }) => message)
    if (errors.length > 0) this.tally.unloaded.push(`${module.relativeModuleId}: ${errors.join('; ')}`)
    this.write()
  }

  onTestRunEnd(_modules, _errors, reason) {
    this.tally.done = reason !== 'interrupted'
    this.write()
  }

  write() {
    writeFileSync(file, JSON.stringify(this.tally))
  }
}
