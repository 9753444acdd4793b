import { parent } from './children.ts'
import { nowUs, numberOf, sentUsOf } from './job-bytes.ts'
import { connectAs } from './login.ts'
import type { Login, Sample, WorkerOrder, WorkerWord } from './protocol.ts'

/** The worker: a plain queue subscriber of the core pool that counts every job it gets, and answers none. */
const { argument, say, onOrder } = parent<Login, WorkerOrder, WorkerWord>()
const connection = await connectAs(argument)

/** So rarely that the word costs nothing, so often that the agent's window never runs dry for it. */
const creditEvery = 128
const jobsMax = 10_000_000

const times = new Uint8Array(jobsMax)
let phase = { first: 0, count: 0 }
let received = 0
let jobs = 0
let doubled = 0
let unknown = 0
let sample: Sample | undefined
let latenciesUs: number[] = []

connection.subscribe('worker.helpdesk.>', {
  queue: 'helpdesk',
  callback: (_error, message) => {
    const atUs = nowUs()
    const number = numberOf(message.data)
    const at = number - phase.first
    if (at < 0 || at >= phase.count) {
      unknown++
      return
    }
    const before = times[number] ?? 0
    times[number] = before + 1
    if (before > 0) {
      doubled++
      return
    }
    jobs++
    received++
    latenciesUs.push(atUs - sentUsOf(message.data))
    if (received % creditEvery === 0) say({ type: 'credit', received })
    if (received < phase.count) return
    sample = {
      subject: message.subject,
      headers: [...(message.headers ?? [])].map(([name, values]) => [name, values.at(-1) ?? '']),
    }
    say({ type: 'complete', atUs, latencies: latenciesUs })
  },
})

onOrder((order) => {
  switch (order.type) {
    case 'expect':
      phase = order
      received = 0
      latenciesUs = []
      return say({ type: 'expecting' })
    case 'report':
      return say({ type: 'seen', jobs, doubled, unknown, sample })
  }
})
await connection.flush()
say({ type: 'ready' })
