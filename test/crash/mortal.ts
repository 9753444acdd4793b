import type { Bus } from '../../gateway/bus/bus.ts'
import { BusError, type Heard } from '../../gateway/bus/message.ts'
import { jobIdFromMessageId, jobIdFromStored, type JobId } from '../../policy/job-id.ts'

/** Where a gateway dies in the life of one job: at the n-th thing it does on the bus, before it is sent or after it is done. */
export type Death = { readonly at: number; readonly when: 'before' | 'after' }

/** A bus that dies for each job by itself, so that hundreds of deaths can be watched in one gateway. */
export type MortalBus = {
  wrap(bus: Bus): Bus
  isDead(job: JobId): boolean
  /** Of the jobs without a message id: how many have been delivered, and which of them have not died. */
  born(): number
  alive(): readonly JobId[]
  bodyOf(job: JobId): string
  /** How much was done about the job so far. */
  deeds(job: JobId): number
}

/**
 * From its death on nothing about the job is sent, read or acknowledged by this gateway, as if it were gone. Of a job without a
 * message id the name is known when it is delivered; `deathOf` says by its body when it dies.
 */
export function mortalBus(
  named: ReadonlyMap<JobId, Death>,
  deathOf: (body: Uint8Array) => Death | undefined = () => undefined,
): MortalBus {
  const deaths = new Map(named)
  const deeds = new Map<string, number>()
  const dead = new Set<string>()
  const born = new Map<JobId, string>()
  /** Which job a delivered message is about, by stream and sequence: acknowledgements and removals name only these. */
  const delivered = new Map<string, string>()
  const ids = new Map([...deaths.keys()].map((job) => [job.slice(job.indexOf('.') + 1), job]))

  const jobIn = (subject: string, body?: Uint8Array | string): string | undefined => {
    // Whose claim it is stands in the value; the key says nothing of it.
    if (subject.startsWith('$KV.gov_asked.')) return typeof body === 'string' ? body : undefined
    for (const token of subject.split('.')) {
      const job = ids.get(token)
      if (job !== undefined) return job
    }
    return undefined
  }
  /** True: do it. False: it is never done. Dies on the way if its time has come. */
  const mayBegin = (job: string): boolean => {
    if (dead.has(job)) return false
    const deed = (deeds.get(job) ?? 0) + 1
    deeds.set(job, deed)
    const death = deaths.get(job as JobId)
    if (death?.at !== deed) return true
    dead.add(job)
    return death.when === 'after'
  }
  const unlessDead = async <T>(job: string | undefined, act: () => Promise<T>): Promise<T> => {
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
    const messageId = message.header('Nats-Msg-Id')
    const job =
      first !== 'job'
        ? jobIn(message.subject)
        : messageId !== ''
          ? jobIdFromMessageId(tenant, agent, messageId)
          : jobIdFromStored(tenant, BigInt(tokens[at + 5] ?? 0), BigInt(tokens[at + 3] ?? 0))
    const death = first === 'job' && messageId === '' ? deathOf(message.body) : undefined
    if (job !== undefined && death !== undefined) {
      deaths.set(job as JobId, death)
      born.set(job as JobId, Buffer.from(message.body).toString())
      ids.set(job.slice(job.indexOf('.') + 1), job as JobId)
    }
    if (job !== undefined) delivered.set(`${tokens[at]}:${tokens[at + 3]}`, job)
  }
  const wrap = (bus: Bus): Bus => ({
    ...bus,
    append: (subject, body, options) =>
      unlessDead(jobIn(subject, body), () => bus.append(subject, body, options)),
    // Reading changes nothing: to die at a read is to have died at the write before it.
    last: async (stream, subject) => {
      if (dead.has(jobIn(subject) ?? '')) throw new BusError('dead')
      return bus.last(stream, subject)
    },
    remove: (stream, sequence) =>
      unlessDead(delivered.get(`${stream}:${sequence}`), () => bus.remove(stream, sequence)),
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
  return {
    wrap,
    born: () => born.size,
    alive: () => [...born.keys()].filter((job) => !dead.has(job)),
    bodyOf: (job) => born.get(job) ?? '',
    isDead: (job) => dead.has(job),
    deeds: (job) => deeds.get(job) ?? 0,
  }
}
