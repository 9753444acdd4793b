import { setTimeout as sleep } from 'node:timers/promises'

import type { Act } from './nats-acts.ts'
import type { RoleCredential } from './nats-grants.ts'
import { connectProbe, type Probe } from './nats-probe.ts'

/** What came of one act; `sluice nats verify -o json` prints these. */
export type Proof = {
  readonly id: string
  readonly role: RoleCredential['role']
  readonly user: string
  readonly act: string
  readonly expected: string
  readonly observed: string
  readonly ok: boolean
}

/** How long an answer that should not come is waited for, after those that should have come. */
const quietMs = 200

/**
 * Tries every act as the role it is of; what the server cannot be asked (a time to live, before 2.11) is left out.
 * Throws the client's error if a role cannot connect: then nothing is proven.
 */
export async function attempt(url: string, acts: readonly Act[]): Promise<Proof[]> {
  const probes = new Map<string, Probe>()
  const needed = new Map<string, RoleCredential>()
  for (const act of acts) {
    needed.set(act.credential.user, act.credential)
    if (act.type === 'reflect') needed.set(act.witness.credential.user, act.witness.credential)
  }
  try {
    for (const [user, credential] of needed) probes.set(user, await connectProbe(url, credential))
    const observed = new Map<string, string>()
    for (const [user, probe] of probes) {
      const own = acts.filter(({ credential }) => credential.user === user)
      for (const [id, seen] of await permissions(probe, own)) observed.set(id, seen)
      for (const [id, seen] of await answers(probe, own)) observed.set(id, seen)
    }
    for (const [id, seen] of await reflections(probes, acts)) observed.set(id, seen)
    return acts.flatMap((act) => {
      const seen = observed.get(act.id)
      return seen === undefined ? [] : [proofOf(act, seen)]
    })
  } finally {
    await Promise.all([...probes.values()].map((probe) => probe.close()))
  }
}

type Observed = (readonly [id: string, seen: string])[]

async function permissions(probe: Probe, acts: readonly Act[]): Promise<Observed> {
  const of = (type: 'publish' | 'subscribe') => acts.flatMap((act) => (act.type === type ? [act] : []))
  const subjects = (type: 'publish' | 'subscribe'): string[] => of(type).map(({ subject }) => subject)
  const refused = {
    publish: await probe.publish(subjects('publish')),
    subscribe: await probe.subscribe(subjects('subscribe')),
  }
  return (['publish', 'subscribe'] as const).flatMap((type) =>
    of(type).map(({ id, subject }) => [id, refused[type].has(subject) ? 'refused' : 'allowed'] as const),
  )
}

async function answers(probe: Probe, acts: readonly Act[]): Promise<Observed> {
  const seen: [string, string][] = []
  for (const act of acts) {
    if (act.type === 'ask') seen.push([act.id, said(await probe.ask(act.ask), 'answered')])
    if (act.type === 'header' && (act.header !== 'Nats-TTL' || knowsTtl(probe.serverVersion))) {
      const headers = { [act.header]: act.value }
      seen.push([act.id, said(await probe.ask(act.subject, headers), 'stored')])
    }
  }
  return seen
}

/** Before 2.11 a server has no time to live for a message, and to try it would only store something. */
function knowsTtl(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > 2 || (major === 2 && minor >= 11)
}

function said(answer: string | undefined, yes: string): string {
  if (answer === undefined || answer === '') return 'no answer'
  return answer.includes('"error"') ? 'refused' : yes
}

/** All at once: whoever should hear nothing listens first, then everybody asks. */
async function reflections(probes: ReadonlyMap<string, Probe>, acts: readonly Act[]): Promise<Observed> {
  const reflecting = acts.flatMap((act) => (act.type === 'reflect' ? [act] : []))
  const heard: { user: string; subject: string }[] = []
  const listening = new Map(
    reflecting.map(({ witness: { credential, subject } }) => [
      `${credential.user} ${subject}`,
      { user: credential.user, subject },
    ]),
  )
  for (const { user, subject } of listening.values())
    probes.get(user)?.hear(subject, (on) => heard.push({ user, subject: on }))
  for (const { user } of listening.values()) await probes.get(user)?.settle()
  for (const { credential, ask, reply } of reflecting) probes.get(credential.user)?.reflect(ask, reply)
  for (const probe of probes.values()) await probe.settle()
  if (reflecting.length > 0) await sleep(quietMs)
  for (const probe of probes.values()) await probe.settle()
  return reflecting.map(({ id, reply, witness }) => {
    // An import may rename the first tokens; the last one says which attempt it was.
    const [first] = reply.split('.')
    const last = reply.slice(reply.lastIndexOf('.'))
    const leaked = heard.some(
      ({ user, subject }) =>
        user === witness.credential.user && subject.startsWith(`${first}.`) && subject.endsWith(last),
    )
    return [id, leaked ? `heard by ${witness.credential.user}` : 'not heard'] as const
  })
}

function proofOf(act: Act, observed: string): Proof {
  const { id, credential, expected } = act
  return {
    id,
    role: credential.role,
    user: credential.user,
    act: words(act),
    expected,
    observed,
    ok: observed === expected,
  }
}

function words(act: Act): string {
  switch (act.type) {
    case 'publish':
      return `publish ${act.subject}`
    case 'subscribe': {
      const [subject, queue] = act.subject.split(' ')
      return queue === undefined ? `subscribe ${subject}` : `subscribe ${subject} in queue ${queue}`
    }
    case 'reflect':
      return `ask ${act.ask}, answer to ${act.reply}`
    case 'ask':
      return `ask ${act.ask}`
    case 'header':
      return `publish ${act.subject} with ${act.header}: ${act.value}`
  }
}
