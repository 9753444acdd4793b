import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { checkYaml, problemText } from '../gateway/config/yaml-file.ts'
import { connectFailureCode } from './connect-failure.ts'
import { exitCodes } from './exit-codes.ts'
import { actsOf } from './nats-acts.ts'
import { attempt, type Proof } from './nats-attempt.ts'
import { CredentialsFile, gatewayCredential, type RoleCredential } from './nats-grants.ts'
import { UsageError, type Call, type Subcommand } from './subcommand.ts'
import { tableText } from './table-text.ts'

/** `sluice nats verify`: tries to get round the gate, as everybody. */
export const natsVerifyCommand: Subcommand = {
  about: 'tries everything that is forbidden, as everybody',
  help: `usage: sluice nats verify [--server URL] [--credentials FILE] [--readonly] [--all] [-o json]

Connects as every role and tries what it must not do: publish, subscribe, join a queue group, use the JetStream API, have
an answer sent where it may not speak, read inboxes, speak as somebody else. Tries what it must be able to do as well.
Exit code 1 if anything comes out otherwise. What is tried leaves nothing in any stream.

-s, --server URL    the server (nats://127.0.0.1:4222); else the one that the credentials file names, else NATS_URL
--credentials FILE  like ready.json, which is the default
--data-dir DIR      where a running sluice dev keeps ready.json (SLUICE_DATA_DIR, default .sluice/dev)
--readonly          only what nobody would hear and nothing would store if the server let it pass
--all               every act, not only those that came out otherwise
-o, --output X      text (default) or json

The gateway's own user is tried too if its password is in SLUICE_GATEWAY_PASSWORD, or in passwords.json beside the file.`,
  sharedHelp: '',
  options: { server: 'text', credentials: 'text', readonly: 'flag', all: 'flag' },
  words: { min: 0, max: 0 },
  run: async (call) => {
    const known = await knownRoles(call)
    if (!known.ok) {
      for (const problem of known.problems) call.terminal.err(problem)
      return exitCodes.badConfiguration
    }
    const { text, terminal } = call
    const url = text['server'] ?? text['url'] ?? known.url ?? terminal.env['NATS_URL']
    if (url === undefined) throw new UsageError('--server is needed: the credentials file names no server')
    const acts = actsOf(known.roles).filter(({ harmless }) => harmless || !call.flags.has('readonly'))
    let proofs: Proof[]
    try {
      proofs = await attempt(url, acts)
    } catch (error) {
      call.terminal.err(`cannot verify ${url}: ${error instanceof Error ? error.message : String(error)}`)
      return connectFailureCode(error)
    }
    show(call, proofs)
    if (!known.roles.some(({ role }) => role === 'gateway'))
      call.terminal.err("the gateway's own user was not tried: SLUICE_GATEWAY_PASSWORD is not set")
    return proofs.every(({ ok }) => ok) ? exitCodes.ok : exitCodes.failed
  },
}

type Known =
  | { ok: true; url: string | undefined; roles: RoleCredential[] }
  | { ok: false; problems: string[] }

async function knownRoles({ text, terminal: { env } }: Call): Promise<Known> {
  const folder = text['data-dir'] ?? env['SLUICE_DATA_DIR'] ?? join('.sluice', 'dev')
  const file = text['credentials'] ?? join(folder, 'ready.json')
  const content = await readFile(file, 'utf8').catch(() => undefined)
  if (content === undefined)
    return { ok: false, problems: [`${file} cannot be read; --credentials says where it is`] }
  // JSON is YAML, and this way a problem has its line.
  const read = checkYaml(file, content, CredentialsFile)
  if (!read.ok) return { ok: false, problems: read.problems.map(problemText) }
  const { nats_url: url, credentials } = read.value
  const roles = credentials as RoleCredential[]
  const password = env['SLUICE_GATEWAY_PASSWORD'] ?? (await passwordBeside(file))
  const gateway = roles.some(({ role }) => role === 'gateway') || password === undefined
  return { ok: true, url, roles: gateway ? roles : [...roles, gatewayCredential(password)] }
}

/** `sluice dev` keeps all passwords in one file, the gateway's too. */
async function passwordBeside(file: string): Promise<string | undefined> {
  const text = await readFile(join(dirname(file), 'passwords.json'), 'utf8').catch(() => '{}')
  const password = (JSON.parse(text) as Record<string, unknown>)['gateway']
  return typeof password === 'string' ? password : undefined
}

function show({ json, flags, terminal }: Call, proofs: readonly Proof[]): void {
  const wrong = proofs.filter(({ ok }) => !ok)
  if (json) {
    terminal.out(JSON.stringify({ ok: wrong.length === 0, acts: proofs }))
    return
  }
  for (const line of tableText(summary(proofs))) terminal.out(line)
  const shown = flags.has('all') ? proofs : wrong
  if (shown.length > 0) {
    terminal.out('')
    const rows = shown.map(({ ok, user, expected, observed, act }) => [
      ok ? 'ok' : 'LEAK',
      user,
      expected,
      observed,
      act,
    ])
    for (const line of tableText([['', 'USER', 'EXPECTED', 'OBSERVED', 'ACT'], ...rows])) terminal.out(line)
  }
  terminal.out('')
  terminal.out(
    wrong.length === 0
      ? `${proofs.length} acts, all as expected: nobody tried here gets round the gate`
      : `${proofs.length} acts, ${wrong.length} not as expected`,
  )
}

/** One row for each user and each thing that must come of its acts. */
function summary(proofs: readonly Proof[]): string[][] {
  const groups = new Map<string, Proof[]>()
  for (const proof of proofs) {
    const key = `${proof.user} ${proof.expected}`
    groups.set(key, [...(groups.get(key) ?? []), proof])
  }
  const rows = [...groups.values()].flatMap((group) => {
    const [first] = group
    const fine = group.filter(({ ok }) => ok).length
    return first === undefined ? [] : [[first.role, first.user, first.expected, `${group.length}`, `${fine}`]]
  })
  return [['ROLE', 'USER', 'MUST BE', 'TRIED', 'AS EXPECTED'], ...rows]
}
