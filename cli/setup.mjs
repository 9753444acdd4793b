// What must be there before anything of ours can run: packages and compiled code. Plain JavaScript and Node's own
// modules only, because on a fresh clone there is nothing else.
import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder of package.json. */
export const projectRoot = dirname(dirname(fileURLToPath(import.meta.url)))

const oldestNode = [20, 19]
const npmTimeoutMs = 600_000
const tscTimeoutMs = 180_000
const stillAtItEveryMs = 5_000
const lockWaitMs = 600_000
const lockPollMs = 100

/** Sources that `tsc` compiles; what tsconfig.json includes. */
const sourceFolders = ['policy', 'audit', 'gateway', 'cli', 'examples', 'test', 'bench']

const say = (line) => process.stderr.write(`${line}\n`)

/** Throws, with what to do, if this Node cannot run us. */
export function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < oldestNode[0] || (major === oldestNode[0] && minor < oldestNode[1])) {
    throw new Error(`Sluice needs Node ${oldestNode.join('.')} or newer; this is ${process.versions.node}`)
  }
}

/** Runs `npm ci` if there are no packages yet, or others than package-lock.json names. */
export async function ensurePackages() {
  if (packagesFit()) return
  await withLock('packages', async () => {
    if (packagesFit()) return
    say('packages: installing (npm ci, about 20 s)')
    // No package of ours needs its install script, and running none is the safer habit. Development packages are
    // needed in every environment: the compiler is one.
    const options = ['--ignore-scripts', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
    try {
      await runTool('packages', npmCommand(), ['ci', ...options], npmTimeoutMs)
    } catch {
      // `npm ci` also insists on packages of other platforms, which a mirror of the registry may not have.
      say('packages: npm ci did not go through, trying npm install')
      await runTool('packages', npmCommand(), ['install', '--no-save', ...options], npmTimeoutMs)
    }
  })
}

/** Compiles to dist/ if a source is newer than the last compilation. */
export async function ensureBuilt() {
  if (builtMs() >= newestSourceMs()) return
  await withLock('build', async () => {
    if (builtMs() >= newestSourceMs()) return
    const started = new Date()
    const tsc = join(projectRoot, 'node_modules', 'typescript', 'bin', 'tsc')
    // Types are checked by `npm run check`; who only wants to start something need not wait for that.
    const args = [tsc, '--noCheck', '--incremental', '--tsBuildInfoFile', join('dist', '.tsbuildinfo')]
    await runTool('build', [process.execPath], args, tscTimeoutMs)
    writeFileSync(stampFile, '')
    // A source that was saved while we compiled counts as newer.
    utimesSync(stampFile, started, started)
  })
}

const stampFile = join(projectRoot, 'dist', '.built')

function builtMs() {
  return modifiedMs(stampFile)
}

function newestSourceMs() {
  const files = sourceFolders.flatMap((folder) => sourcesIn(join(projectRoot, folder)))
  files.push(join(projectRoot, 'tsconfig.json'), join(projectRoot, 'package-lock.json'))
  return Math.max(...files.map(modifiedMs))
}

/** The folder itself is among them: a removed file changes nothing else. */
function sourcesIn(folder) {
  try {
    const entries = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    return [folder, ...entries.filter((entry) => entry.endsWith('.ts')).map((entry) => join(folder, entry))]
  } catch {
    return []
  }
}

/** 0 for what does not exist, older than everything. */
function modifiedMs(file) {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

/** Whether every package that package-lock.json names is there in its version; those for other platforms may not be. */
function packagesFit() {
  const installed = lockedPackages(join(projectRoot, 'node_modules', '.package-lock.json'))
  const wanted = lockedPackages(join(projectRoot, 'package-lock.json'))
  return Object.entries(wanted).every(
    ([path, { version, optional }]) =>
      path === '' || (installed[path] === undefined ? optional : installed[path].version === version),
  )
}

function lockedPackages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages
  } catch {
    return {}
  }
}

/** npm as it started us, else the one on the PATH. */
function npmCommand() {
  const script = process.env.npm_execpath
  return script !== undefined && /npm-cli\.c?js$/.test(script) ? [process.execPath, script] : ['npm']
}

/** Two commands started side by side must not both write node_modules or dist. */
async function withLock(name, act) {
  const lock = join(projectRoot, '.sluice', `${name}.lock`)
  mkdirSync(dirname(lock), { recursive: true })
  const deadline = Date.now() + lockWaitMs
  for (let told = false; !takeLock(lock); told = true) {
    if (Date.now() > deadline) throw new Error(`${name}: another command holds ${lock} and does not end`)
    if (!told) say(`${name}: another command is at it, waiting`)
    await new Promise((resolve) => setTimeout(resolve, lockPollMs))
  }
  try {
    return await act()
  } finally {
    rmSync(lock, { force: true })
  }
}

/** Writes our process id into the file, unless somebody who lives did so before. */
function takeLock(lock) {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' })
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
  }
  try {
    process.kill(Number(readFileSync(lock, 'utf8')), 0)
  } catch (error) {
    // Whoever held it was killed. (ENOENT: whoever held it is done.)
    if (error.code === 'ESRCH') rmSync(lock, { force: true })
  }
  return false
}

/** Runs a tool in the project, its words on our standard error, a sign of life now and then. */
async function runTool(name, [command, ...first], args, timeoutMs) {
  const startedMs = Date.now()
  const timer = setInterval(
    () => say(`${name}: still at it, ${Math.round((Date.now() - startedMs) / 1000)} s`),
    stillAtItEveryMs,
  )
  const child = spawn(command, [...first, ...args], {
    cwd: projectRoot,
    stdio: ['ignore', process.stderr, process.stderr],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  })
  const ended = await new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(code === 0 ? '' : `ended with ${code ?? signal}`))
  })
  clearInterval(timer)
  if (ended !== '') throw new Error(`${name}: ${command} ${ended}`)
}
