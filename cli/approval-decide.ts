import type { ApprovalItem } from '../gateway/queries/approval-item.ts'
import { itemOf } from './approval-look.ts'
import { cardText } from './approval-card.ts'
import { exitCodes } from './exit-codes.ts'
import { refused, UsageError, type Call, type Subcommand } from './subcommand.ts'
import { visible } from './visible.ts'

const options = { note: 'text', 'job-hash': 'text', 'policy-snapshot': 'text' } as const
const limitsHelp = `
  --constraints JSON      limits that you add, in the words of a policy: '{"max_runtime_sec": 5}'`
const help = (verb: string, what: string): string => `usage: sluice approval ${verb} JOB_ID [--note TEXT]

${what}
The card is shown first, and the decision is bound to what it shows: if the job or the policy is another by then, nothing
happens (exit code 9).

  --note TEXT       why; at most 1,000 characters, stands on record
  --job-hash HASH   what you saw, if you looked elsewhere; --policy-snapshot ID likewise`

export const approvalApprove: Subcommand = {
  about: 'let a parked job run',
  help: help('approve', 'Lets a parked job run, once, as it is.') + limitsHelp,
  options: { ...options, constraints: 'text' },
  words: { min: 1, max: 1 },
  run: (call) => decide(call, 'approve'),
}

export const approvalReject: Subcommand = {
  about: 'refuse a parked job',
  help: help('reject', 'Refuses a parked job: it never runs and its agent is told.'),
  options,
  words: { min: 1, max: 1 },
  run: (call) => decide(call, 'reject'),
}

export const approvalClaim: Subcommand = {
  about: 'tell colleagues that you are on it',
  help: `usage: sluice approval claim JOB_ID [--note TEXT]

Tells everybody who looks that you are on it, for a quarter of an hour. It locks nothing: anybody may still
decide. Somebody else's claim is a conflict (exit code 9).

  --note TEXT       what you are looking at; at most 1,000 characters`,
  options: { note: 'text' },
  words: { min: 1, max: 1 },
  run: async (call) => {
    const path = `/api/v1/approvals/${encodeURIComponent(call.rest[0] ?? '')}/claim`
    const body = { note: call.text['note'] ?? '' }
    const reply = await (await call.gateway()).call('POST', path, { body })
    if (reply.status !== 200) return refused(call, reply)
    const { job_id, state, claim } = reply.body as { job_id: string; state: string; claim: { by: string } }
    const said = `${job_id}  ${state}  ${claim.by} is on it`
    call.terminal.out(call.json ? JSON.stringify(reply.body) : visible(said))
    return exitCodes.ok
  },
}

async function decide(call: Call, decision: 'approve' | 'reject'): Promise<number> {
  const { terminal, text } = call
  const id = call.rest[0] ?? ''
  const gateway = await call.gateway()
  const looked = await itemOf(gateway, id)
  if (looked.status !== 200) return refused(call, looked)
  const item = looked.body as unknown as ApprovalItem
  for (const line of cardText(item, terminal)) terminal.err(line)
  const body = {
    note: text['note'] ?? '',
    job_hash: text['job-hash'] ?? item.job_hash,
    policy_snapshot: text['policy-snapshot'] ?? item.policy_snapshot,
    ...(text['constraints'] === undefined ? {} : { constraints: jsonIn(text['constraints']) }),
  }
  const reply = await gateway.call('POST', `/api/v1/approvals/${encodeURIComponent(id)}/${decision}`, {
    body,
  })
  if (reply.status !== 200) return refused(call, reply)
  if (call.json) terminal.out(JSON.stringify(reply.body))
  else {
    const { state, resolution } = reply.body as { state: string; resolution: { by: string } }
    terminal.out(
      visible(
        `${item.job_id}  ${state}  ${decision === 'approve' ? 'approved' : 'rejected'} by ${resolution.by}`,
      ),
    )
  }
  return exitCodes.ok
}

/** What is in it is looked at by the gateway, so that a limit nobody knows is refused the same everywhere. */
function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new UsageError('--constraints is a JSON object')
  }
}
