#!/usr/bin/env node
// `npx sluice ...`: compiles if the sources are newer, then runs the command.
import { checkNode, ensureBuilt, ensurePackages } from './setup.mjs'

try {
  checkNode()
  await ensurePackages()
  await ensureBuilt()
} catch (error) {
  process.stderr.write(`${error.message}\n`)
  process.exit(1)
}
await import('../dist/cli/main.js')
