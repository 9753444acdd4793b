import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export type Ticket = { id: string; title: string; status: string; comments: string[] }

/** The tickets and, by job id, which jobs have changed them already. */
export type TicketFile = { tickets: Record<string, Ticket>; done: Record<string, string> }

const doneMax = 1_000
const lockStaleMs = 5_000
const lockPollMs = 5

const demoTitles = {
  'T-1': 'The printer on floor 3 prints everything twice',
  'T-2': 'A customer was charged twice',
  'T-3': 'VPN access for a new colleague',
}

/** The tickets as they stand in the file; the demo's own if there is no file yet. */
export async function readTickets(file: string): Promise<TicketFile> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (text !== undefined) return JSON.parse(text) as TicketFile
  const tickets = Object.entries(demoTitles).map(([id, title]): [string, Ticket] => [
    id,
    { id, title, status: 'open', comments: [] },
  ])
  return { tickets: Object.fromEntries(tickets), done: {} }
}

/**
 * Lets `act` change the tickets on behalf of a job and replaces the file whole, so that nobody ever reads half of it.
 * A job that has changed them before changes nothing again: its second attempt finds the work of the first one done.
 */
export async function changeTickets(
  file: string,
  job: string,
  ticket: string,
  act: (ticket: Ticket) => void,
): Promise<Ticket | undefined> {
  return locked(file, async () => {
    const all = await readTickets(file)
    const found = Object.hasOwn(all.tickets, ticket) ? all.tickets[ticket] : undefined
    if (found === undefined || Object.hasOwn(all.done, job)) return found
    act(found)
    const done = Object.entries({ ...all.done, [job]: ticket }).slice(-doneMax)
    const scratch = `${file}.${process.pid}`
    await writeFile(scratch, `${JSON.stringify({ ...all, done: Object.fromEntries(done) }, null, 2)}\n`)
    await rename(scratch, file)
    return found
  })
}

/** Two workers of the pool share the file; a lock that nobody took off for so long belongs to a worker that died. */
async function locked<T>(file: string, act: () => Promise<T>): Promise<T> {
  const lock = `${file}.lock`
  await mkdir(dirname(file), { recursive: true })
  while (!(await mkdir(lock).then(() => true, isTaken))) {
    const since = (await stat(lock).catch(() => undefined))?.mtimeMs ?? Date.now()
    if (Date.now() - since > lockStaleMs) await rm(lock, { recursive: true, force: true })
    await sleep(lockPollMs)
  }
  try {
    return await act()
  } finally {
    await rm(lock, { recursive: true, force: true })
  }
}

function isTaken(error: NodeJS.ErrnoException): false {
  if (error.code === 'EEXIST') return false
  throw error
}
