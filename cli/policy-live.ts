import { readText } from './policy-files.ts'
import { exitCodes } from './exit-codes.ts'
import { refused, UsageError, type Call, type Subcommand } from './subcommand.ts'

export const policySnapshots: Subcommand = {
  about: 'the policies that were in force, and their texts',
  help: `usage: sluice policy snapshots [SNAPSHOT]

Lists the snapshots that are kept, the one in force first; with a snapshot (or enough of its beginning) prints its text. A
record names the snapshot that decided.

  sluice policy snapshots cad42259 > then.yaml`,
  options: {},
  words: { min: 0, max: 1 },
  run: async (call) => {
    const [snapshot] = call.rest
    const path =
      '/api/v1/policy/snapshots' + (snapshot === undefined ? '' : `/${encodeURIComponent(snapshot)}`)
    const { status, body } = await (await call.gateway()).call('GET', path)
    if (status !== 200) return refused(call, { status, body })
    if (call.json) call.terminal.out(JSON.stringify(body))
    else if (snapshot !== undefined) call.terminal.out(textOf(String(body['policy'])))
    else {
      const now = body['policy_snapshot']
      for (const one of [now, ...(body['snapshots'] as unknown[]).filter((other) => other !== now)])
        call.terminal.out(`${String(one)}${one === now ? '  in force' : ''}`)
    }
    return exitCodes.ok
  },
}

/** A policy of several files is kept as the list of their texts, and no policy file is a list. */
function textOf(kept: string): string {
  if (!kept.startsWith('[')) return kept
  const files = JSON.parse(kept) as string[]
  return files.map((text, at) => `# file ${at + 1} of ${files.length}\n${text}`).join('\n')
}

export const policyRollback: Subcommand = {
  about: 'go back to a policy that was in force',
  help: `usage: sluice policy rollback SNAPSHOT --reason TEXT
       sluice policy rollback --end --reason TEXT

All gateways decide by a kept snapshot within a second, whatever the policy file says, until the rollback is ended; then the
file counts again. Who ordered it and why is on record first. /readyz?verbose shows it.

  --reason TEXT     why; stands on record
  --end             the file counts again`,
  options: { reason: 'text', end: 'flag' },
  words: { min: 0, max: 1 },
  run: async (call) => {
    const [snapshot] = call.rest
    if ((snapshot === undefined) !== call.flags.has('end'))
      throw new UsageError('say a snapshot, or --end to let the file count again')
    return order(call, 'rollback', { snapshot: snapshot ?? null })
  },
}

export const policyShadow: Subcommand = {
  about: 'try a candidate beside the policy in force',
  help: `usage: sluice policy shadow CANDIDATE.yaml --reason TEXT
       sluice policy shadow --end --reason TEXT

Every gateway evaluates the candidate for each job as well, from the next second on. It decides nothing; where it would
have, that is a record sluice.policy.shadow.v1 on audit._policy, at most ten a second. /readyz?verbose counts.

  --reason TEXT     why; stands on record
  --end             no candidate any more`,
  options: { reason: 'text', end: 'flag' },
  words: { min: 0, max: 1 },
  run: async (call) => {
    const [file] = call.rest
    if ((file === undefined) !== call.flags.has('end')) throw new UsageError('say a candidate, or --end')
    if (file === undefined) return order(call, 'shadow', { policy: null })
    const text = await readText(call, file)
    return text.ok ? order(call, 'shadow', { policy: text.value }) : text.code
  },
}

async function order(call: Call, what: string, body: object): Promise<number> {
  const { reason } = call.text
  if (reason === undefined) throw new UsageError('say why: --reason TEXT')
  const reply = await (
    await call.gateway()
  ).call('POST', `/api/v1/policy/${what}`, { body: { ...body, reason } })
  if (reply.status !== 200) return refused(call, reply)
  const { policy_snapshot: now, shadow_snapshot: beside } = reply.body
  if (call.json) call.terminal.out(JSON.stringify(reply.body))
  else call.terminal.out(`in force: ${String(now)}${typeof beside === 'string' ? `; shadow: ${beside}` : ''}`)
  return exitCodes.ok
}
