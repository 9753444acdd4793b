import { access } from 'node:fs/promises'
import { join } from 'node:path'

import { readSettings } from '../gateway/config/config.ts'
import { need } from '../gateway/config/settings.ts'
import { rotateKeys } from '../gateway/config/keys.ts'
import { exitCodes } from './exit-codes.ts'
import { refused, runSubcommand, UsageError, type Call, type Subcommand } from './subcommand.ts'
import { tableText } from './table-text.ts'
import { processTerminal, type Terminal } from './terminal.ts'

type PublicKey = { readonly kid: string; readonly x: string; readonly from: string }

const list: Subcommand = {
  about: 'the public keys that tickets are verified with',
  help: `usage: sluice keys ls

The gateway's public keys, oldest first. In use is the newest one whose time has come; tickets under the others are as
good while their dispatches live. With -o json it is a JSON Web Key Set.`,
  options: {},
  words: { min: 0, max: 0 },
  run: async (call) => {
    const reply = await (await call.gateway()).call('GET', '/api/v1/keys')
    if (reply.status !== 200) return refused(call, reply)
    const { keys } = reply.body as unknown as { keys: readonly PublicKey[] }
    if (call.json) call.terminal.out(JSON.stringify({ keys }))
    else for (const line of tableText(rows(keys, call.terminal.nowMs()))) call.terminal.out(line)
    return exitCodes.ok
  },
}

const afterUsualSec = 60

const rotate: Subcommand = {
  about: 'new keys for tickets and results',
  help: `usage: sluice keys rotate [--after SECONDS] [--keys FILE] [--config FILE]

Adds a new ticket key and a new result key to the key file. Every gateway reads the file by itself, puts the new public
key on record, and begins to use the keys after ${afterUsualSec} seconds; until then copy the file to the other machines that have
gateways. What was dispatched under the old keys stays valid; they go at a later rotation, when nothing of them lives.

--after SECONDS  when the new keys are used
--keys FILE      the key file; else the setting keys
--data-dir DIR   that of a sluice dev, whose key file is in it`,
  sharedHelp: '',
  options: { after: 'text', keys: 'text', config: 'text' },
  words: { min: 0, max: 0 },
  run: async (call) => {
    const after = call.text['after'] ?? String(afterUsualSec)
    if (!/^\d{1,6}$/.test(after)) throw new UsageError('--after is a number of seconds')
    const file = await keyFile(call)
    if (typeof file !== 'string') {
      for (const problem of file.problems) call.terminal.err(problem)
      return exitCodes.badConfiguration
    }
    const nowMs = call.terminal.nowMs()
    const fromMs = nowMs + Number(after) * 1_000
    const gone = await rotateKeys(file, fromMs, nowMs)
    const from = new Date(fromMs).toISOString()
    if (call.json) call.terminal.out(JSON.stringify({ file, from, removed: gone }))
    else call.terminal.out(`${file}: new keys, used from ${from}; ${gone} old ones removed`)
    return exitCodes.ok
  },
}

const table = { ls: list, rotate }

/** `sluice keys ...`: what the gateways sign with. */
export function run(args: string[], terminal: Terminal = processTerminal()): Promise<number> {
  return runSubcommand('keys', table, args, terminal)
}

async function keyFile({ text, terminal }: Call): Promise<string | { problems: readonly string[] }> {
  const folder = text['data-dir']
  const flags = Object.fromEntries(
    ['config', 'keys'].flatMap((name) => (text[name] === undefined ? [] : [[name, text[name]]])),
  ) as Record<string, string>
  const settings = await readSettings({ flags, env: terminal.env, cwd: process.cwd() })
  if (!settings.ok) return settings
  const file =
    folder === undefined || flags['keys'] !== undefined
      ? need(settings.values, 'keys')
      : join(folder, 'keys.json')
  const there = await access(file).then(
    () => true,
    () => false,
  )
  return there ? file : { problems: [`${file} cannot be read; --keys says where it is`] }
}

function rows(keys: readonly PublicKey[], nowMs: number): string[][] {
  const inUse = keys.findLast(({ from }) => Date.parse(from) <= nowMs)
  const state = (key: PublicKey): string =>
    key === inUse ? 'in use' : Date.parse(key.from) > nowMs ? 'to come' : 'before'
  const from = (key: PublicKey): string => (Date.parse(key.from) === 0 ? 'ever' : key.from)
  return [['KEY', 'STATE', 'FROM', 'ED25519'], ...keys.map((key) => [key.kid, state(key), from(key), key.x])]
}
