import { randomBytes } from 'node:crypto'

import { natsUsers, passwordVariable } from '../../gateway/nats/conf.ts'
import { type Topology } from '../../gateway/config/topology.ts'

/** Passwords by user name, for everybody in nats.conf. */
export type Passwords = Readonly<Record<string, string>>

const ownerMark = '# {{owner}}'

/**
 * The configuration with the owner's user in it, for as long as `sluice provision` runs: nats.conf says on which line
 * it goes and, on the line below as a comment, how it reads.
 */
export function withOwner(conf: string): string {
  const lines = conf.split('\n')
  const mark = lines.findIndex((line) => line.trim().startsWith(ownerMark))
  const user = lines[mark + 1]?.trim().replace(/^#\s*/, '')
  if (mark < 0 || user === undefined || !user.startsWith('{')) {
    throw new Error(`nats.conf has no line '${ownerMark}' with the owner's user on the line below it`)
  }
  return lines.with(mark + 1, user).join('\n')
}

/** New passwords for every user of nats.conf. They begin with a letter: the server reads 1234 or 1e5 as a number. */
export function newPasswords(topology: Topology): Passwords {
  const users = [...natsUsers(topology), 'owner']
  return Object.fromEntries(users.map((user) => [user, `p${randomBytes(16).toString('hex')}`]))
}

/** All passwords as nats.conf expects them. */
export function passwordEnvironment(passwords: Passwords): Record<string, string> {
  return Object.fromEntries(
    Object.entries(passwords).map(([user, password]) => [passwordVariable(user), password]),
  )
}
