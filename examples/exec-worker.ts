import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Msg } from '@nats-io/transport-node'

import { pullOne } from './pull.ts'
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

/**
 * A worker of a pull pool: it asks WORK for the next job when it has a hand free, and runs one command of a fixed list.
 * No shell, no argument that an agent could make up, and nothing runs beyond the job's deadline.
 */
const commands: Readonly<Record<string, (payload: Record<string, unknown>) => readonly string[]>> = {
  date: () => ['date', '-u', '+%Y-%m-%dT%H:%M:%SZ'],
  fail: () => ['false'],
  sleep: ({ seconds }) => ['sleep', String(Number.isInteger(seconds) ? seconds : 1)],
  uname: () => ['uname', '-a'],
}

const handsMax = 4
const askForMs = 1_000
const outputBytesMax = 64 * 1024
/** A moment after the deadline: the gateway's clock decides, and ours should not be the first to strike. */
const graceMs = 50
const retryMs = 500

const connection = await connectWorker()
const check = await openTicketCheck()
const asked = {
  next: `${setting('API_PREFIX')}.CONSUMER.MSG.NEXT.${setting('STREAM')}.${setting('CONSUMER')}`,
  inboxPrefix: setting('INBOX_PREFIX'),
}
const stopping = new AbortController()
const running = new Map<string, AbortController>()
// The gateway says when a job is cancelled or its time is over; listening to it is a courtesy, the deadline holds anyway.
connection.subscribe(setting('CANCEL'), {
  callback: (_error, message) => running.get(message.subject.split('.').slice(-2).join('.'))?.abort(),
})
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stopping.abort())
console.log(`exec worker ${setting('NAME')}: asking ${asked.next}`)

await Promise.all(Array.from({ length: handsMax }, hand))
await connection.drain()

/** One hand: ask, acknowledge, work, answer. What was asked for is waited for, so that stopping loses no job. */
async function hand(): Promise<void> {
  while (!stopping.signal.aborted) {
    const job = await ask()
    if (job === undefined) continue
    // "I have it": only the gateway retries, so there is nothing that the stream should deliver again.
    job.respond('+ACK')
    const refused = await check(job)
    if (refused === undefined) answer(connection, job, await work(job))
    else refuse(job, refused)
  }
}

async function ask(): Promise<Msg | undefined> {
  try {
    return await pullOne(connection, asked, askForMs)
  } catch {
    // The server is away; the client comes back to it by itself.
    await sleep(retryMs, undefined, { signal: stopping.signal }).catch(() => undefined)
    return undefined
  }
}

async function work(job: Msg): Promise<Outcome> {
  const topic = header(job, 'Sluice-Topic')
  const name = topic.split('.').at(-1) ?? ''
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command === undefined)
    return {
      status: 'error',
      output: { problem: 'not one of the commands', commands: Object.keys(commands) },
    }
  const argv = command(payloadOf(job))
  const cancelled = new AbortController()
  running.set(header(job, 'Sluice-Job'), cancelled)
  const withinMs = Date.parse(header(job, 'Sluice-Deadline')) + graceMs - Date.now()
  const done = await execute(argv, withinMs, AbortSignal.any([stopping.signal, cancelled.signal]))
  running.delete(header(job, 'Sluice-Job'))
  const limits: unknown = JSON.parse(header(job, 'Sluice-Constraints'))
  return {
    status: done.exit_code === 0 ? 'ok' : 'error',
    output: { command: argv.join(' '), ...done, limits },
  }
}

type Executed = { exit_code: number | null; stdout: string; stderr: string; cut: boolean }

/** Runs a program until it ends, its time is over, or it is stopped. `cut`: it did not end by itself. */
function execute(argv: readonly string[], withinMs: number, signal: AbortSignal): Promise<Executed> {
  const [program = '', ...args] = argv
  const options = {
    cwd: '/',
    env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' },
    timeout: Math.max(1, Math.ceil(withinMs)),
    killSignal: 'SIGKILL',
    maxBuffer: outputBytesMax,
    signal,
  } as const
  return new Promise((resolve) => {
    const child = execFile(program, args, options, (_error, stdout, stderr) =>
      resolve({ exit_code: child.exitCode, stdout, stderr, cut: child.exitCode === null }),
    )
  })
}
