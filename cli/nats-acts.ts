import { neighboursOf, publishSubjects, strange, subscribeSubjects } from './nats-subjects.ts'
import { covered, grantsOf, type RoleCredential } from './nats-grants.ts'

/** Something that a role tries, and what must come of it. */
export type Act = {
  /** `helpdesk-1/publish/audit._policy`: the same in every run against the same topology. */
  readonly id: string
  readonly credential: RoleCredential
  /** Leaves nothing behind and is heard by nobody, whatever the server makes of it. */
  readonly harmless: boolean
} & (
  | {
      readonly type: 'publish' | 'subscribe'
      readonly subject: string
      readonly expected: 'allowed' | 'refused'
    }
  /** Asks for something harmless; the answer, if there is one, is to go where the role may not speak. */
  | {
      readonly type: 'reflect'
      readonly ask: string
      readonly reply: string
      readonly witness: Witness
      readonly expected: 'not heard'
    }
  /** The control of reflection: the same question, answered in the own inbox. */
  | { readonly type: 'ask'; readonly ask: string; readonly expected: 'answered' }
  /** A header that would change what a stream holds. */
  | {
      readonly type: 'header'
      readonly subject: string
      readonly header: 'Nats-Rollup' | 'Nats-TTL'
      readonly value: string
      readonly expected: 'refused'
    }
)

/** Somebody who listens, with the own rights, where nothing may arrive. */
export type Witness = { readonly credential: RoleCredential; readonly subject: string }

/**
 * Everything that is tried with these credentials: each role, all that any of them might be tempted by, and for each
 * grant its nearest neighbours, so that a grant one token too wide is seen. What the role may do is in it too: a server
 * that refuses everything proves nothing.
 */
export function actsOf(credentials: readonly RoleCredential[]): Act[] {
  const publishes = publishSubjects(credentials)
  const subscriptions = subscribeSubjects(credentials)
  return credentials.flatMap((credential) => [
    ...permissionActs(credential, 'publish', publishes),
    ...permissionActs(credential, 'subscribe', subscriptions),
    ...reflectionActs(credential, credentials),
    ...(credential.role === 'gateway' ? headerActs(credential) : []),
  ])
}

function permissionActs(
  credential: RoleCredential,
  type: 'publish' | 'subscribe',
  universe: readonly string[],
): Act[] {
  const grants = grantsOf(credential)[type]
  const near = grants.flatMap((grant) => neighboursOf(grant, type))
  const forbidden = new Set([...universe, ...near].filter((subject) => !covered(grants, subject)))
  const act = (subject: string, expected: 'allowed' | 'refused'): Act => ({
    id: `${credential.user}/${type}/${subject.replace(' ', '@')}`,
    credential,
    type,
    subject,
    expected,
    harmless: type === 'subscribe' || readsOnly.test(subject),
  })
  return [
    ...grants.map((grant) => act(within(grant, type), 'allowed')),
    ...[...forbidden].map((subject) => act(subject, 'refused')),
  ]
}

/** Parts of the JetStream API that change nothing, whoever asks. */
const readsOnly =
  /^(\$JS|gov)\.API\.(INFO|STREAM\.(INFO|LIST|NAMES|MSG\.GET)|DIRECT\.GET|CONSUMER\.INFO)(\.|$)/

/** A subject inside a grant on which nothing real is ever said, so that no listener takes real work away. */
function within(grant: string, type: 'publish' | 'subscribe'): string {
  const [pattern = '', queue] = grant.split(' ')
  const subject = pattern
    .split('.')
    .map((token) =>
      token === '>' ? strange + (type === 'subscribe' ? '.>' : '') : token === '*' ? strange : token,
    )
    .join('.')
  return queue === undefined ? subject : `${subject} ${queue}`
}

/** How often a question is asked whose answer only one of a queue group would hear. */
const askedInQueue = 8

function reflectionActs(credential: RoleCredential, credentials: readonly RoleCredential[]): Act[] {
  const ask = question(credential)
  if (ask === undefined) return []
  const control: Act[] = ask.answered
    ? [
        {
          id: `${credential.user}/ask/${ask.subject}`,
          credential,
          type: 'ask',
          ask: ask.subject,
          expected: 'answered',
          harmless: true,
        },
      ]
    : []
  // Inside an account a reply may go wherever the account itself can hear: docs/threat-model.md.
  const others = credentials.filter(({ account }) => account !== credential.account)
  const reflected = others.flatMap((other) =>
    ears(other, credential.user).map(({ reply, subject, harmless }): Act => ({
      credential,
      ask: ask.subject,
      id: `${credential.user}/reflect/${reply}/${other.user}`,
      type: 'reflect',
      reply,
      witness: { credential: other, subject },
      expected: 'not heard',
      harmless: harmless && ask.answered,
    })),
  )
  return [...control, ...reflected]
}

/** What a role may ask whose answer it could want elsewhere; `answered`: by the server, and nothing is stored. */
function question(credential: RoleCredential): { subject: string; answered: boolean } | undefined {
  const { role, actor, js_api_prefix: api, stream, consumer } = credential
  switch (role) {
    case 'agent':
      return { subject: `${credential.publish ?? `job.${actor}.`}${strange}`, answered: false }
    case 'worker':
    case 'approver':
      return api === undefined
        ? { subject: `result.${actor}.${strange}`, answered: false }
        : { subject: `${api}.CONSUMER.INFO.${stream}.${consumer}`, answered: true }
    case 'auditor':
      return { subject: `${api ?? '$JS.API'}.STREAM.INFO.AUDIT`, answered: true }
    case 'operator':
      return { subject: `control.${actor}.list`, answered: false }
    case 'gateway':
      // Inside GOV the gateway can point an answer anywhere: who holds its credential is inside the gate.
      return undefined
  }
}

/** Where a role hears something of which others must not decide what it is; the last tokens say who tries. */
function ears(
  credential: RoleCredential,
  asker: string,
): { reply: string; subject: string; harmless: boolean }[] {
  const { inbox_prefix: inbox, role, tenant, actor, pool, queue, subscribe = [] } = credential
  const own = { reply: `${inbox}.${strange}.${asker}`, subject: `${inbox}.${strange}.>`, harmless: true }
  if (role === 'worker' && queue !== undefined) {
    const subject = `worker.${pool}.${strange}.> ${queue}`
    const work = Array.from({ length: askedInQueue }, (_, n) => ({
      reply: `worker.${pool}.${strange}.${asker}-${n}`,
      subject,
      harmless: false,
    }))
    return [own, ...work]
  }
  if (role === 'agent' && subscribe.includes('decision.>'))
    return [
      own,
      { reply: `decision.${tenant}.${actor}.${strange}.${asker}`, subject: 'decision.>', harmless: false },
    ]
  return [own]
}

/** The gateway may write AUDIT, but neither replace nor shorten what stands there. */
function headerActs(credential: RoleCredential): Act[] {
  const subject = `audit.${strange}`
  return [
    { header: 'Nats-Rollup' as const, value: 'sub' },
    { header: 'Nats-TTL' as const, value: '1h' },
  ].map((one) => ({
    ...one,
    id: `${credential.user}/header/${one.header}/${subject}`,
    credential,
    type: 'header' as const,
    subject,
    expected: 'refused' as const,
    harmless: false,
  }))
}
