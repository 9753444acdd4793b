import { randomUUID } from 'node:crypto'

import { connect, headers, type Msg } from '@nats-io/transport-node'

/**
 * An agent: submits one job by request, prints the gateway's answer, waits until the job has ended and prints what came
 * out. An ordinary NATS client with NATS_URL, NATS_USER and NATS_PASSWORD.
 *
 *   node dist/examples/agent.js job.mcp-bridge.read.get_ticket '{"payload": {"ticket": "T-1"}}'
 */
type Answer = { job_id: string; state: string; next: string; decision: { type: string; reason: string } }

const [topic = 'job.mcp-bridge.read.get_ticket', job = '{}'] = process.argv.slice(2)
const ended = [
  'SUCCEEDED',
  'DENIED',
  'REJECTED',
  'EXPIRED',
  'DROPPED',
  'FAILED',
  'TIMED_OUT',
  'CANCELLED',
  'QUARANTINED',
]

const connection = await connect({
  servers: process.env['NATS_URL'] ?? 'nats://127.0.0.1:4222',
  user: process.env['NATS_USER'] ?? '',
  pass: process.env['NATS_PASSWORD'] ?? '',
})

// Listening begins before asking: a quick job has ended before its answer is here.
const news: Msg[] = []
let heard = (): void => undefined
const hear = (_error: Error | null, message: Msg): void => {
  news.push(message)
  heard()
}
connection.subscribe('decision.>', { callback: hear })
connection.subscribe('output.>', { callback: hear })

// The id makes a retry harmless: the same agent and id are the same job, however often it is sent.
const named = headers()
named.set('Nats-Msg-Id', randomUUID())
const reply = await connection.request(topic, job, { headers: named, timeout: 5_000 })
const answer = reply.json<Answer | { error: { description: string } }>()
if ('error' in answer) {
  console.error(answer.error.description)
  process.exit(1)
}
console.log(`${answer.decision.type}: ${answer.decision.reason}`)
console.log(`${answer.job_id} is ${answer.state}; what to do now: ${answer.next}`)

let state = answer.state
let output: Msg | undefined
// A released output comes on a subject of its own; every other end is a decision.
while (!ended.includes(state) || (state === 'SUCCEEDED' && output === undefined)) {
  const message = news.shift()
  if (message === undefined) await new Promise<void>((resolve) => (heard = resolve))
  else if (message.headers?.get('Sluice-Job') === answer.job_id) {
    state = message.headers.get('Sluice-State')
    if (message.subject.startsWith('output.')) output = message
  }
}
console.log(`${answer.job_id} is ${state}`)
if (output !== undefined) console.log(output.string())
await connection.close()
process.exit(state === 'SUCCEEDED' ? 0 : 1)
