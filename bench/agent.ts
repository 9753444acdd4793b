import { parent } from './children.ts'
import { jobBytes, nowUs, topic } from './job-bytes.ts'
import { connectAs } from './login.ts'
import type { AgentOrder, AgentWord, Login } from './protocol.ts'

/** The agent: plain publishes through its account's import, as any client of NATS would. */
const { argument, say, onOrder } = parent<Login, AgentOrder, AgentWord>()
const connection = await connectAs(argument)
const tickMs = 1

let received = 0
let resume: (() => void) | undefined

function publish(number: number): void {
  connection.publish(`job.${topic}`, jobBytes(number, nowUs()))
}

/** Publishes whenever fewer than `window` jobs are on their way. */
async function closed(first: number, count: number, window: number): Promise<void> {
  received = 0
  for (let sent = 0; sent < count;) {
    for (const until = Math.min(count, received + window); sent < until; sent++) publish(first + sent)
    if (sent < count) await new Promise<void>((resolve) => (resume = resolve))
  }
}

/** Publishes what is due by the clock, even if nothing comes back. */
async function open(first: number, count: number, perSec: number): Promise<void> {
  const startUs = nowUs()
  for (let sent = 0; sent < count;) {
    const due = Math.min(count, Math.floor(((nowUs() - startUs) * perSec) / 1_000_000) + 1)
    for (; sent < due; sent++) publish(first + sent)
    await new Promise((resolve) => setTimeout(resolve, tickMs))
  }
}

onOrder((order) => {
  if (order.type === 'credit') {
    received = order.received
    resume?.()
    return
  }
  const startUs = nowUs()
  say({ type: 'begun', atUs: startUs })
  const { first, count } = order
  const run = order.type === 'closed' ? closed(first, count, order.window) : open(first, count, order.perSec)
  void run.then(() => say({ type: 'sent', tookUs: nowUs() - startUs })) // A throw ends the process, and so the round.
})
await connection.flush()
say({ type: 'ready' })
