import { setTimeout as sleep } from 'node:timers/promises'
import type { ApprovalItem } from '../gateway/queries/approval-item.ts'
import { cardText } from './approval-card.ts'
import { approvalsText } from './approval-text.ts'
import { exitCodes } from './exit-codes.ts'
import type { GatewayClient, Reply } from './gateway-client.ts'
import { refused, UsageError, type Call, type Subcommand } from './subcommand.ts'

export const approvalList: Subcommand = {
  about: 'what waits for a person',
  help: `usage: sluice approval ls [--mine | --all] [--limit N]

Lists the jobs that wait for a person, the longest wait first.

  --mine            only those about which you can decide and have not yet
  --all             also what is resolved, the newest first
  --limit N         at most so many (default 100)`,
  options: { all: 'flag', limit: 'text', mine: 'flag' },
  words: { min: 0, max: 0 },
  run: async (call) => {
    const limit = limitOf(call)
    const [all, mine] = [call.flags.has('all'), call.flags.has('mine')]
    if (all && mine) throw new UsageError('--mine is only about what waits: leave out --all')
    const which = all ? 'include_resolved=true' : mine ? 'mine=true' : 'include_resolved=false'
    const listed = await list(await call.gateway(), which, limit)
    if (!listed.ok) return refused(call, listed.reply)
    if (call.json) call.terminal.out(JSON.stringify({ items: listed.items }))
    else if (listed.items.length === 0) call.terminal.err('nothing waits for a person')
    else for (const line of approvalsText(listed.items, call.terminal)) call.terminal.out(line)
    if (listed.more) call.terminal.err(`there is more than ${limit}: say --limit`)
    return exitCodes.ok
  },
}

export const approvalShow: Subcommand = {
  about: 'what exactly would run, and why it is asked',
  help: `usage: sluice approval show JOB_ID

Shows one approval as an approver needs it: what would run, who asks, which rule wants a person, what happens if nobody
decides.
`,
  options: {},
  words: { min: 1, max: 1 },
  run: async (call) => {
    const reply = await itemOf(await call.gateway(), call.rest[0] ?? '')
    if (reply.status !== 200) return refused(call, reply)
    if (call.json) call.terminal.out(JSON.stringify(reply.body))
    else
      for (const line of cardText(reply.body as unknown as ApprovalItem, call.terminal))
        call.terminal.out(line)
    return exitCodes.ok
  },
}

const watchEveryMs = 1_000

export const approvalWatch: Subcommand = {
  about: 'show each new approval as it comes',
  help: `usage: sluice approval watch

Shows what waits now and then each new approval, and those that somebody has claimed or voted on since, until
Ctrl-C. With -o json one line each.
`,
  options: {},
  words: { min: 0, max: 0 },
  run: async (call) => {
    try {
      return await watch(call)
    } catch (error) {
      // Ctrl-C is how watching ends.
      if (call.terminal.signal.aborted) return exitCodes.ok
      throw error
    }
  },
}

/** What is new comes at the end, so only the last page is asked for again and again, however many wait. */
async function watch(call: Call): Promise<number> {
  const gateway = await call.gateway()
  const { signal } = call.terminal
  let cursor = ''
  let seen = new Set<string>()
  while (!signal.aborted) {
    const reply = await gateway.call('GET', `/api/v1/approvals?limit=${pageMax}${cursor}`)
    if (reply.status !== 200) return refused(call, reply)
    const { items, next_cursor } = reply.body as unknown as Page
    for (const item of items) if (!seen.has(keyOf(item))) tell(call, item)
    if (next_cursor === null) {
      seen = new Set(items.map(keyOf))
      await sleep(watchEveryMs, undefined, { signal })
    } else {
      seen = new Set()
      cursor = `&cursor=${encodeURIComponent(next_cursor)}`
    }
  }
  return exitCodes.ok
}

/** A job that was parked again is asked for again; who is on it, and who has voted, is news as well. */
const keyOf = ({ job_id, requested_at, claim, votes }: ApprovalItem): string =>
  `${job_id} ${requested_at} ${claim?.at ?? ''} ${votes.length}`

function tell({ json, terminal }: Call, item: ApprovalItem): void {
  if (json) return terminal.out(JSON.stringify(item))
  for (const line of [...cardText(item, terminal), '']) terminal.out(line)
}

const pageMax = 500

type Page = { readonly items: ApprovalItem[]; readonly next_cursor: string | null }

type Listed =
  | { readonly ok: true; readonly items: ApprovalItem[]; readonly more: boolean }
  | { readonly ok: false; readonly reply: Reply }

async function list(gateway: GatewayClient, which: string, limit: number): Promise<Listed> {
  const items: ApprovalItem[] = []
  let cursor = ''
  while (items.length < limit) {
    const query = `${which}&limit=${Math.min(pageMax, limit - items.length)}${cursor}`
    const reply = await gateway.call('GET', `/api/v1/approvals?${query}`)
    if (reply.status !== 200) return { ok: false, reply }
    const page = reply.body as unknown as Page
    items.push(...page.items)
    if (page.next_cursor === null) return { ok: true, items, more: false }
    cursor = `&cursor=${encodeURIComponent(page.next_cursor)}`
  }
  return { ok: true, items, more: true }
}

/** The approval of a job, as the API tells it. */
export function itemOf(gateway: GatewayClient, job: string): Promise<Reply> {
  return gateway.call('GET', `/api/v1/approvals/${encodeURIComponent(job)}`)
}

function limitOf(call: Call): number {
  const text = call.text['limit'] ?? '100'
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new UsageError('--limit is a whole number from 1')
  return Number(text)
}
