// npm start, npm test, npm run drill, npm run bench: sets up what is missing, then does it. All progress goes to
// standard error, because --json promises one line on standard output.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import { checkNode, ensureBuilt, ensurePackages, projectRoot } from './setup.mjs'

const [command = 'dev', ...args] = process.argv.slice(2)

try {
  checkNode()
  await ensurePackages()
  await ensureBuilt()
} catch (error) {
  process.stderr.write(`${error.message}\n`)
  process.exit(1)
}

if (command === 'test') {
  const vitest = join(projectRoot, 'node_modules', 'vitest', 'vitest.mjs')
  const child = spawn(process.execPath, [vitest, 'run', ...args], { cwd: projectRoot, stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
  child.once('exit', (code) => process.exit(code ?? 1))
} else {
  // In this process, so that signals reach who must hear them. These two are no commands of the installed program.
  const besides = { bench: 'bench', soak: join('test', 'soak') }
  const program = join(projectRoot, 'dist', besides[command] ?? 'cli', 'main.js')
  process.argv = [process.argv[0], program, ...(command in besides ? [] : [command]), ...args]
  await import(pathToFileURL(program).href)
}
