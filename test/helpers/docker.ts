import { execFile } from 'node:child_process'
import { access, constants, cp, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

import { spawnLeashed, type Leashed } from '../../cli/dev/leash.ts'

const execute = promisify(execFile)

/** A Docker engine: the one that runs here, or one that was started for a test and is gone after it. */
export type Docker = {
  /** As DOCKER_HOST has it. */
  readonly host: string
  /** Runs the docker client and returns its standard output; throws with what it said on standard error. */
  run(...args: readonly string[]): Promise<string>
  /** Everything a container has said so far. */
  logs(container: string): Promise<string>
  /** Removes what the test made here, and the engine if it is ours. */
  stop(): Promise<void>
}

const startWithinMs = 30_000
const lookEveryMs = 200
const lastWordsMax = 5
const outputBytesMax = 16 * 1024 * 1024

/**
 * Finds or starts an engine; a string says why there is none. `network: 'none'` needs nothing of the machine's network, with
 * `bridge` ports can be published.
 */
export async function openDocker(network: 'none' | 'bridge'): Promise<Docker | string> {
  const client = await onPath('docker')
  if (client === undefined) return 'there is no docker client on the PATH'
  const given = process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock'
  if (await answers(client, given)) return docker(client, given, async () => undefined)
  if (process.getuid?.() !== 0) return 'no Docker engine runs here, and only root could start one'
  const engine = await onPath('dockerd')
  if (engine === undefined)
    return 'no Docker engine runs here, and there is no dockerd to start (docker.io has it)'
  return startEngine(client, engine, network)
}

async function startEngine(
  client: string,
  engine: string,
  network: 'none' | 'bridge',
): Promise<Docker | string> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-docker-'))
  const host = `unix://${join(folder, 'docker.sock')}`
  const hadBridge = await hasDefaultBridge()
  const lines: string[] = []
  const daemon = await spawnLeashed({
    command: engine,
    args: [
      ...['--host', host, '--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')],
      ...['--pidfile', join(folder, 'pid')],
      // Ports are published by a proxy of the engine's, so the machine's packet filter can stay as it is.
      ...['--iptables=false', '--ip6tables=false', ...(network === 'none' ? ['--bridge', 'none'] : [])],
    ],
    env: process.env,
    onLine: (line) => {
      lines.push(line)
      if (lines.length > lastWordsMax) lines.shift()
    },
  })
  const stop = async (): Promise<void> => {
    await daemon.stop()
    // A container on the machine's own network leaves this mount behind.
    await execute('umount', [join(folder, 'exec', 'netns', 'default')]).catch(() => undefined)
    await rm(folder, { recursive: true, force: true })
    if (network === 'bridge' && !hadBridge)
      await execute('ip', ['link', 'delete', 'docker0']).catch(() => undefined)
  }
  if (await ready(client, host, daemon)) return docker(client, host, stop)
  await stop()
  return `dockerd does not start here: ${lines.join(' | ')}`
}

async function ready(client: string, host: string, daemon: Leashed): Promise<boolean> {
  let ended = false
  void daemon.exited.then(() => (ended = true))
  const deadline = performance.now() + startWithinMs
  while (!ended && performance.now() < deadline) {
    if (await answers(client, host)) return true
    await sleep(lookEveryMs)
  }
  return false
}

function docker(client: string, host: string, stop: () => Promise<void>): Docker {
  // The classic builder: the other one is a plugin that may not be there, and fetches things.
  const env = { ...process.env, DOCKER_HOST: host, DOCKER_BUILDKIT: '0' }
  return {
    host,
    stop,
    run: async (...args) => (await execute(client, args, { env, maxBuffer: outputBytesMax })).stdout.trim(),
    logs: async (container) => {
      const { stdout, stderr } = await execute(client, ['logs', container], {
        env,
        maxBuffer: outputBytesMax,
      })
      return stdout + stderr
    },
  }
}

async function answers(client: string, host: string): Promise<boolean> {
  const env = { ...process.env, DOCKER_HOST: host }
  return execute(client, ['version', '--format', '{{.Server.Version}}'], { env, timeout: 5_000 }).then(
    () => true,
    () => false,
  )
}

async function hasDefaultBridge(): Promise<boolean> {
  return access('/sys/class/net/docker0').then(
    () => true,
    () => false,
  )
}

/** Builds an image out of nothing but a program of this machine and the libraries it is linked with; pulls nothing. */
export async function buildFromProgram(
  on: Docker,
  tag: string,
  program: string,
  path: string,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-image-'))
  try {
    const binary = await realpath(program)
    await put(folder, binary, path)
    for (const library of await librariesOf(binary)) await put(folder, await realpath(library), library)
    await mkdir(join(folder, 'root', 'tmp'), { recursive: true })
    const lines = ['FROM scratch', 'COPY root/ /', `ENV PATH=${dirname(path)}`, `ENTRYPOINT ["${path}"]`]
    await writeFile(join(folder, 'Dockerfile'), `${lines.join('\n')}\n`)
    await on.run('build', '--quiet', '--tag', tag, folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function put(folder: string, from: string, to: string): Promise<void> {
  const target = join(folder, 'root', to)
  await mkdir(dirname(target), { recursive: true })
  await cp(from, target)
}

/** What the dynamic linker would load; nothing for a program that is linked statically. */
async function librariesOf(binary: string): Promise<string[]> {
  const { stdout } = await execute('ldd', [binary]).catch(() => ({ stdout: '' }))
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path)
}

async function onPath(name: string): Promise<string | undefined> {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']) {
    const candidate = join(folder, name)
    if (
      folder !== '' &&
      (await access(candidate, constants.X_OK).then(
        () => true,
        () => false,
      ))
    )
      return candidate
  }
  return undefined
}
