import { createHash, hash } from 'node:crypto'
import { jobIdFromMessageId } from '../policy/job-id.ts'
import type { Bus } from './bus/bus.ts'
import type { Heard } from './bus/message.ts'
import { answerAgain } from './duplicate.ts'
import type { Io } from './io.ts'
import { parseSubmission } from './subjects.ts'

/**
 * The second ear: a core queue subscription that hears submissions with a reply subject and only remembers whom to
 * answer. It never decides: a core subscriber also hears what the stream refused.
 */
export type Answers = { readonly waiting: number }

type Asker = {
  readonly reply: string
  readonly agent: string
  readonly bytes: number
  readonly timers: NodeJS.Timeout[]
}

/** Below this, copying the body costs less than a hash in two parts. */
const copiedMax = 4_096

/** Recomputed from the stored copy, which has no reply subject; headers are left out because the import may add one. */
export function answerKey(subject: string, messageId: string, body: Uint8Array): string {
  const named = Buffer.from(`${subject}\0${messageId}\0`)
  if (body.length > copiedMax) return createHash('sha256').update(named).update(body).digest('base64url')
  return hash('sha256', Buffer.concat([named, body]), 'base64url')
}

/** Replies leave only for the server's own routed reply subjects: anything else could be aimed at somebody. */
const routedReply = '_R_.'
/** What is kept of the questions of one agent; who asks more is not answered, and nobody else notices. */
const heldBytesMax = 16 * 1024 * 1024
/** Beside its body a question costs about so much. */
const askerBytes = 1_024

const notDecided = {
  error: {
    code: 503,
    err_code: 10_077,
    description:
      'not stored or not decided in time; retry with the same Nats-Msg-Id header, so that the job cannot run twice',
  },
}

/** A retry within the stream's dedupe window is not stored again; its answer stands on record already. */
const lookAfterMs = 150

/**
 * Starts listening on both subjects. `ear` is a connection of its own: it hears whatever agents send, also what their streams
 * refuse, and when the server gives it up as too slow, decisions, records and orders to stop go on by the other one.
 */
export function openAnswers(io: Io, ear: Bus): Answers {
  const askers = new Map<string, Asker[]>()
  const held = new Map<string, number>()
  let waiting = 0

  const take = (key: string, asker?: Asker): Asker | undefined => {
    const queue = askers.get(key)
    const index = asker === undefined ? 0 : (queue?.indexOf(asker) ?? -1)
    const taken = index < 0 ? undefined : queue?.splice(index, 1)[0]
    if (queue?.length === 0) askers.delete(key)
    if (taken === undefined) return undefined
    waiting--
    held.set(taken.agent, (held.get(taken.agent) ?? 0) - taken.bytes)
    // They hold the question, and an agent can ask faster than they run out.
    for (const timer of taken.timers) clearTimeout(timer)
    return taken
  }
  const look = async (
    key: string,
    asker: Asker,
    message: Heard,
    answer: object | undefined,
  ): Promise<void> => {
    const found = (await recorded(io, message).catch(() => undefined)) ?? answer
    // Whoever asked while the connection was another, or just before it was closed, is not there any more.
    if (found !== undefined && take(key, asker) !== undefined && ear.connected())
      ear.publish(asker.reply, JSON.stringify(found))
  }
  ear.subscribe('job.>', 'answers', (message) => {
    const submission = message.reply.startsWith(routedReply) ? parseSubmission(message.subject) : undefined
    if (submission === undefined) return
    const agent = `${submission.tenant}.${submission.agent}`
    const bytes = message.body.length + askerBytes
    const heldBytes = (held.get(agent) ?? 0) + bytes
    if (heldBytes > heldBytesMax) return
    held.set(agent, heldBytes)
    const messageId = message.header('Nats-Msg-Id')
    const key = answerKey(message.subject, messageId, message.body)
    const asker: Asker = { reply: message.reply, agent, bytes, timers: [] }
    const queue = askers.get(key) ?? []
    queue.push(asker)
    askers.set(key, queue)
    waiting++
    const later = (delayMs: number, answer: object | undefined): void => {
      asker.timers.push(setTimeout(() => void look(key, asker, message, answer), delayMs).unref())
    }
    if (messageId !== '') later(lookAfterMs, undefined)
    later(io.config.decisionTimeoutMs, notDecided)
  })
  // On the same connection, so that no decision overtakes the question that it answers.
  ear.subscribe('decision.>', undefined, (said) => {
    // Headers are read only when somebody here waits for an answer.
    if (waiting === 0) return
    const key = said.header('Sluice-Answer-Key')
    const asker = key === '' ? undefined : take(key)
    if (asker === undefined) return
    const place = {
      stream: said.header('Sluice-Stream'),
      seq: Number(said.header('Sluice-Sequence')),
      duplicate: said.header('Sluice-Duplicate') === 'true',
    }
    ear.publish(asker.reply, JSON.stringify({ ...place, ...JSON.parse(Buffer.from(said.body).toString()) }))
  })
  return {
    get waiting() {
      return waiting
    },
  }
}

/** A message with an id that was decided before this one came: the stream kept only the first, its record answers both. */
async function recorded(io: Io, message: Heard): Promise<object | undefined> {
  const messageId = message.header('Nats-Msg-Id')
  const submission = parseSubmission(message.subject)
  if (messageId === '' || submission === undefined) return undefined
  const last = await io.chain.last(jobIdFromMessageId(submission.tenant, submission.agent, messageId))
  if (last === undefined) return undefined
  return {
    stream: 'AUDIT',
    seq: last.sequence,
    duplicate: true,
    ...answerAgain(io, last.record, submission.topic, message.body),
  }
}
