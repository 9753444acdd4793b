import { join } from 'node:path'

import { openTicketCheck } from './ticket-check.ts'
import {
  answer,
  connectWorker,
  header,
  payloadOf,
  refuse,
  setting,
  type Outcome,
} from './worker-connection.ts'
import { changeTickets, readTickets, type Ticket } from './tickets.ts'

/**
 * A worker of a core pool: one subscription in the pool's queue group, one publish for each job. It reads and changes
 * tickets in a real file; a job without a payload is about ticket T-1.
 */
const connection = await connectWorker()
const check = await openTicketCheck()
const file = join(setting('DATA_DIR'), 'tickets.json')
const jobs = connection.subscribe(setting('SUBSCRIBE'), { queue: setting('QUEUE') })
await connection.flush()
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => void connection.drain().catch(() => process.exit(1)))
console.log(`helpdesk worker ${setting('NAME')}: listening on ${setting('SUBSCRIBE')}`)

for await (const job of jobs) {
  const refused = await check(job)
  if (refused !== undefined) {
    refuse(job, refused)
    continue
  }
  const topic = header(job, 'Sluice-Topic')
  const done = await work(topic, header(job, 'Sluice-Job'), payloadOf(job)).catch(failed)
  answer(connection, job, done)
}

async function work(topic: string, job: string, payload: Record<string, unknown>): Promise<Outcome> {
  const id = text(payload['id']) ?? 'T-1'
  switch (topic) {
    case 'job.mcp-bridge.read.list_tickets':
      return { status: 'ok', output: Object.values((await readTickets(file)).tickets) }
    case 'job.mcp-bridge.read.get_ticket':
      return about(id, Object.entries((await readTickets(file)).tickets).find(([key]) => key === id)?.[1])
    case 'job.mcp-bridge.write.update_ticket':
      return about(id, await changeTickets(file, job, id, (ticket) => update(ticket, payload)))
    case 'job.mcp-bridge.write.add_comment':
      return about(id, await changeTickets(file, job, id, (ticket) => comment(ticket, payload)))
    case 'job.mcp-bridge.write.remove_comments':
      return about(id, await changeTickets(file, job, id, (ticket) => removeComments(ticket, payload)))
    case 'job.mcp-bridge.write.close_ticket':
      return about(id, await changeTickets(file, job, id, (ticket) => void (ticket.status = 'closed')))
    default:
      return { status: 'error', output: { problem: 'the helpdesk does not know this topic', topic } }
  }
}

function about(id: string, ticket: Ticket | undefined): Outcome {
  if (ticket === undefined) return { status: 'error', output: { problem: 'no such ticket', id } }
  return { status: 'ok', output: ticket }
}

function update(ticket: Ticket, payload: Record<string, unknown>): void {
  ticket.status = text(payload['status']) ?? (ticket.status === 'open' ? 'in progress' : 'open')
  ticket.comments.push(text(payload['comment']) ?? `status is now ${ticket.status}`)
}

function comment(ticket: Ticket, payload: Record<string, unknown>): void {
  ticket.comments.push(text(payload['comment']) ?? 'looked at it')
}

function removeComments(ticket: Ticket, payload: Record<string, unknown>): void {
  const containing = text(payload['containing']) ?? ''
  ticket.comments = ticket.comments.filter((said) => !said.includes(containing))
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** The file cannot be read or written: the agent is told that, and not what the file system said. */
function failed(error: unknown): Outcome {
  console.error(`helpdesk worker: ${(error as NodeJS.ErrnoException).code ?? 'failed'}`)
  return { status: 'error', output: { problem: 'the ticket file cannot be used' } }
}
