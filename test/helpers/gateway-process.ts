import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { spawnLeashed } from '../../cli/dev/leash.ts'
import { projectRoot } from '../../cli/dev/project.ts'
import type { Config } from '../../gateway/config/config.ts'
import type { GatewayOrder } from './gateway-main.ts'

/** A gateway that can be killed, stopped and continued. */
export type GatewayProcess = {
  readonly pid: number
  /** Resolves when it is gone, whoever ended it: its exit code, or 128 + the signal. */
  readonly exited: Promise<number>
  kill9(): Promise<void>
  /** SIGSTOP: it holds what it holds and does nothing, as a machine that is suspended. */
  pause(): void
  resume(): void
  /** Collects its garbage, now. */
  collect(): void
  stop(): Promise<void>
}

const lastWordsMax = 20

/** Starts it and waits until it is ready; throws its last words if it ends before. */
export async function startGatewayProcess(
  config: Config,
  how: Omit<GatewayOrder, 'config'> = {},
): Promise<GatewayProcess> {
  const main = await compiledMain()
  const order: GatewayOrder = { config, ...how }
  const lines: string[] = []
  let ready: () => void = () => undefined
  const up = new Promise<void>((resolve) => (ready = resolve))
  const child = await spawnLeashed({
    command: process.execPath,
    args: ['--expose-gc', main],
    env: { ...process.env, SLUICE_TEST_GATEWAY: JSON.stringify(order) },
    cwd: projectRoot,
    onLine: (line) => {
      if (line === 'ready') return ready()
      lines.push(line)
      if (lines.length > lastWordsMax) lines.shift()
      if (config.logLevel !== 'silent') console.error(`${config.gateway}: ${line}`)
    },
  })
  const code = await Promise.race([up, child.exited])
  if (code !== undefined) throw new Error(`${config.gateway} ended with ${code}:\n${lines.join('\n')}`)
  return {
    pid: child.pid,
    exited: child.exited,
    kill9: async () => {
      child.signal('SIGKILL')
      await child.exited
    },
    pause: () => void process.kill(child.pid, 'SIGSTOP'),
    resume: () => void process.kill(child.pid, 'SIGCONT'),
    collect: () => void process.kill(child.pid, 'SIGUSR2'),
    stop: () => child.stop(),
  }
}

const sources = ['policy', 'audit', 'gateway']
const entry = join('test', 'helpers', 'gateway-main.ts')

/**
 * Compiled code of exactly the sources that stand here now, made once and kept under their fingerprint: a gateway that is
 * started again in the middle of a test is the same program as before, whatever is edited meanwhile.
 */
async function compiledMain(): Promise<string> {
  compiled ??= compile()
  return compiled
}

let compiled: Promise<string> | undefined

async function compile(): Promise<string> {
  const folder = join(projectRoot, 'dist', 'under-test', fingerprint())
  const main = join(folder, entry.replace(/\.ts$/, '.js'))
  if (existsSync(main)) return main
  const draft = `${folder}.${process.pid}`
  await mkdir(draft, { recursive: true })
  const settings = join(draft, 'tsconfig.json')
  await writeFile(
    settings,
    JSON.stringify({
      extends: join(projectRoot, 'tsconfig.json'),
      compilerOptions: { outDir: draft, rootDir: projectRoot },
      include: [],
      files: [join(projectRoot, entry)],
    }),
  )
  const tsc = join(projectRoot, 'node_modules', 'typescript', 'bin', 'tsc')
  const words = await output(process.execPath, [tsc, '-p', settings])
  if (!existsSync(join(draft, entry.replace(/\.ts$/, '.js'))))
    throw new Error(`tsc made no gateway:\n${words}`)
  // Renamed into place: another worker of the same run finds all of it or none, and the second one's draft goes.
  await rename(draft, folder).catch(() => rm(draft, { recursive: true }))
  return main
}

function fingerprint(): string {
  const hash = createHash('sha256')
  for (const folder of sources)
    for (const file of readdirSync(join(projectRoot, folder), {
      recursive: true,
      encoding: 'utf8',
    }).toSorted()) {
      const { mtimeMs, size } = statSync(join(projectRoot, folder, file))
      hash.update(`${folder}/${file} ${mtimeMs} ${size}\n`)
    }
  hash.update(String(statSync(join(projectRoot, entry)).mtimeMs))
  return hash.digest('hex').slice(0, 16)
}

async function output(command: string, args: readonly string[]): Promise<string> {
  const child = spawn(command, args, { cwd: projectRoot, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await new Promise((resolve) => child.once('close', resolve))
  return text
}
