import type { Bus } from '../../gateway/bus.ts'
import { BusError, type Heard } from '../../gateway/message.ts'
import { jobIdFromMessageId, type JobId } from '../../policy/job-id.ts'

/** Where a gateway dies in the life of one job: at its n-th word to the bus, before that word is sent or after it was heard. */
export type Death = { readonly at: number; readonly when: 'before' | 'after' }

/** A bus that dies for each job by itself, so that hundreds of deaths can be watched in one gateway. */
export type MortalBus = {
  wrap(bus: Bus): Bus
  isDead(job: JobId): boolean
  /** How many words were said about the job so far. */
  words(job: JobId): number
}

/** From its death on nothing about the job is sent, read or acknowledged by this gateway, as if it were gone. */
export function mortalBus(deaths: ReadonlyMap<JobId, Death>): MortalBus {
  const words = new Map<string, number>()
  const dead = new Set<string>()
  /** Which job a delivered message is about, by stream and sequence: acknowledgements and removals name only these. */
  const delivered = new Map<string, string>()
  const ids = new Map([...deaths.keys()].map((job) => [job.slice(job.indexOf('.') + 1), job]))

  const jobIn = (subject: string): string | undefined => {
    for (const token of subject.split('.')) {
      const job = ids.get(token)
      if (job !== undefined) return job
    }
    return undefined
  }
  /** True: say it. False: it is never said. Dies on the way if its time has come. */
  const mayBegin = (job: string): boolean => {
    if (dead.has(job)) return false
    const word = (words.get(job) ?? 0) + 1
    words.set(job, word)
    const death = deaths.get(job as JobId)
    if (death?.at !== word) return true
    dead.add(job)
    return death.when === 'after'
  }
  const say = async <T>(job: string | undefined, act: () => Promise<T>): Promise<T> => {
    if (job === undefined) return act()
    if (!mayBegin(job)) throw new BusError('dead')
    const heard = await act()
    if (dead.has(job)) throw new BusError('dead')
    return heard
  }
  const note = (message: Heard): void => {
    const tokens = message.reply.split('.')
    if (tokens[1] !== 'ACK') return
    const at = tokens.length > 9 ? 4 : 2
    const [first, tenant = '', agent = ''] = message.subject.split('.')
    const job =
      first === 'job'
        ? jobIdFromMessageId(tenant, agent, message.header('Nats-Msg-Id'))
        : jobIn(message.subject)
    if (job !== undefined) delivered.set(`${tokens[at]}:${tokens[at + 3]}`, job)
  }
  const wrap = (bus: Bus): Bus => ({
    ...bus,
    append: (subject, body, options) => say(jobIn(subject), () => bus.append(subject, body, options)),
    last: (stream, subject) => say(jobIn(subject), () => bus.last(stream, subject)),
    remove: (stream, sequence) =>
      say(delivered.get(`${stream}:${sequence}`), () => bus.remove(stream, sequence)),
    inbox: (name, handle) =>
      bus.inbox(name, (message) => {
        note(message)
        handle(message)
      }),
    publish: (subject, body, headers, reply) => {
      const tokens = subject.split('.')
      const acks = tokens[1] === 'ACK'
      const at = tokens.length > 9 ? 4 : 2
      const job = acks ? delivered.get(`${tokens[at]}:${tokens[at + 3]}`) : jobIn(subject)
      // "Not now" changes nothing; it is said again and again while time passes, and is no moment of its own.
      const notNow = acks && String(body).startsWith('-NAK')
      if (job === undefined || (notNow ? !dead.has(job) : mayBegin(job)))
        return bus.publish(subject, body, headers, reply)
      if (!acks) throw new BusError('dead')
    },
  })
  return { wrap, isDead: (job) => dead.has(job), words: (job) => words.get(job) ?? 0 }
}
