import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { findNats, findTestNats, waysToGetNats } from '../../cli/dev/nats-binary.ts'
import { scratchFolder } from '../helpers/scratch.ts'

/** The tools of a machine, each a script of ours in a folder that is the whole PATH. */
describe('finding a nats-server', () => {
  let folder: Awaited<ReturnType<typeof scratchFolder>>
  let env: NodeJS.ProcessEnv
  let said: string[]
  const say = (line: string): void => void said.push(line)
  beforeEach(async () => {
    folder = await scratchFolder()
    said = []
    await mkdir(join(folder.path, 'bin'))
    // The scripts themselves need a shell and its tools; none of those is a way to a nats-server.
    for (const name of ['sh', 'mkdir', 'cat', 'chmod', 'sleep', 'echo'])
      await tool(name, `exec /bin/${name} "$@"`)
    env = { PATH: join(folder.path, 'bin'), HOME: folder.path, XDG_CACHE_HOME: join(folder.path, 'cache') }
  })
  afterEach(() => folder.remove())

  const script = async (file: string, text: string): Promise<string> => {
    await writeFile(file, `#!/bin/sh\n${text}\n`)
    await chmod(file, 0o755)
    return file
  }
  const tool = (name: string, text: string): Promise<string> => script(join(folder.path, 'bin', name), text)
  const server = (version: string): string => `echo "nats-server: v${version}"`

  /** An apt-get and a dpkg-deb that know one package; `lists` says whether apt has read its package lists. */
  const debian = async (lists: 'there' | 'missing'): Promise<void> => {
    const log = `echo "apt-get $*" >> ${folder.path}/log`
    const refuse = lists === 'there' ? '' : '[ -e "$PWD/updated" ] || exit 100'
    await tool(
      'apt-get',
      `${log}\ncase "$*" in *update) : > "$PWD/updated" ;; *download*) ${refuse || ':'}; : > nats-server_2.deb ;; esac`,
    )
    await tool(
      'dpkg-deb',
      `mkdir -p "$3/usr/sbin"; echo '#!/bin/sh' > "$3/usr/sbin/nats-server"; echo '${server('2.9.10')}' >> "$3/usr/sbin/nats-server"`,
    )
  }
  const go = (): Promise<string> =>
    tool(
      'go',
      `echo "go $*" >> ${folder.path}/log; echo '#!/bin/sh' > "$GOBIN/nats-server"; echo '${server('2.15.1')}' >> "$GOBIN/nats-server"`,
    )

  test('takes the one that is named before the one on the PATH', async () => {
    await tool('nats-server', server('2.12.0'))
    const named = await script(join(folder.path, 'mine'), server('2.11.0'))
    expect(await findNats({ ...env, SLUICE_NATS_SERVER: named }, say)).toEqual({
      ok: true,
      nats: { binary: named, version: '2.11.0', from: 'SLUICE_NATS_SERVER' },
    })
    expect(await findNats(env, say)).toMatchObject({ ok: true, nats: { version: '2.12.0', from: 'PATH' } })
  })

  test('a named one that does not run is said, not passed over', async () => {
    await tool('nats-server', server('2.12.0'))
    const search = await findNats({ ...env, SLUICE_NATS_SERVER: '/not/there' }, say)
    expect(search).toEqual({ ok: false, lines: [expect.stringContaining('/not/there')] })
  })

  test('passes over one on the PATH that is too old', async () => {
    await tool('nats-server', server('2.8.4'))
    await debian('there')
    expect(await findNats(env, say)).toMatchObject({
      ok: true,
      nats: { version: '2.9.10', from: 'Debian package' },
    })
  })

  test("unpacks Debian's package into the cache, and finds it there the next time", async () => {
    await debian('there')
    await go()
    const first = await findNats(env, say)
    expect(first).toMatchObject({ ok: true, nats: { from: 'Debian package' } })
    expect(first.ok && first.nats.binary.startsWith(join(folder.path, 'cache', 'sluice'))).toBe(true)
    expect(said).toEqual([expect.stringContaining('fetching the Debian package')])
    expect(await findNats(env, say)).toMatchObject({ ok: true, nats: { from: 'cache' } })
    expect((await readFile(join(folder.path, 'log'), 'utf8')).trim().split('\n')).toHaveLength(1)
  })

  test("reads package lists of its own where the machine's are missing, and leaves the machine's alone", async () => {
    await debian('missing')
    expect(await findNats(env, say)).toMatchObject({ ok: true, nats: { version: '2.9.10' } })
    const update = (await readFile(join(folder.path, 'log'), 'utf8'))
      .split('\n')
      .find((line) => line.endsWith(' update'))
    expect(update).toContain(`Dir::State::Lists=${join(folder.path, 'cache')}`)
  })

  test('builds one with Go where there is no Debian package', async () => {
    await go()
    expect(await findNats(env, say)).toMatchObject({
      ok: true,
      nats: { version: '2.15.1', from: 'go install' },
    })
  })

  test('goes on when a way fails, and in the end says five ways to get one', async () => {
    await tool('apt-get', 'echo "E: no network" >&2; exit 100')
    await tool('dpkg-deb', 'exit 1')
    await tool('go', 'echo "go: no network" >&2; exit 1')
    const search = await findNats(env, say)
    expect(search).toMatchObject({
      ok: false,
      lines: [expect.stringContaining('no nats-server here'), ...waysToGetNats],
    })
    expect(waysToGetNats).toHaveLength(5)
    expect(said.join('\n')).toContain('no network')
  })

  test("the suite asks for Debian's and for a current one, and takes the one on the PATH if that is current", async () => {
    await debian('there')
    await go()
    expect(await findTestNats(env, say)).toMatchObject({
      debian: { version: '2.9.10' },
      current: { version: '2.15.1' },
    })
    await tool('nats-server', server('2.12.0'))
    expect(await findTestNats(env, say)).toMatchObject({
      debian: { version: '2.9.10' },
      current: { version: '2.12.0' },
    })
    expect(await findTestNats(env, say, 'debian')).toMatchObject({
      debian: { version: '2.9.10' },
      current: undefined,
    })
  })
})
