import { connect, type Msg } from '@nats-io/transport-node'

import { pullOne } from './pull.ts'

/**
 * An approver: takes the next waiting job, prints the card, and resolves it if told to. What the approver saw is what the
 * decision is bound to: the job's hash and the policy snapshot go back with it.
 *
 *   node dist/examples/approver.js                          shows the next waiting job
 *   node dist/examples/approver.js approve 'looked at it'   shows it and approves it
 */
const [decision, note = ''] = process.argv.slice(2)
if (decision !== undefined && decision !== 'approve' && decision !== 'reject') {
  console.error('say approve or reject, or nothing to only look')
  process.exit(2)
}
const user = process.env['NATS_USER'] ?? ''
const inboxPrefix = `_INBOX_${user}`
const connection = await connect({
  servers: process.env['NATS_URL'] ?? 'nats://127.0.0.1:4222',
  user,
  pass: process.env['NATS_PASSWORD'] ?? '',
  inboxPrefix,
})

const next = 'gov.API.CONSUMER.MSG.NEXT.APPROVALS.approvers'
const parked = await pullOne(connection, { next, inboxPrefix }, 0)
if (parked === undefined) {
  console.log('nothing waits for an approval')
} else {
  printCard(parked)
  // Seen; this takes the job off nobody's list but the consumer's, and decides nothing.
  parked.respond('+ACK')
  if (decision !== undefined) await resolve(parked, decision)
}
await connection.close()

async function resolve(parked: Msg, what: 'approve' | 'reject'): Promise<void> {
  const job = header(parked, 'Sluice-Job')
  const body = {
    decision: what,
    note,
    job_hash: header(parked, 'Sluice-Job-Hash'),
    policy_snapshot: header(parked, 'Sluice-Policy'),
  }
  const reply = await connection.request(`approvals.resolve.${user}.${job}`, JSON.stringify(body), {
    timeout: 5_000,
  })
  const answer = reply.json<{ state?: string; code?: string; detail?: string }>()
  console.log(answer.code === undefined ? `${job} is ${answer.state}` : `${answer.code}: ${answer.detail}`)
  if (answer.code !== undefined) process.exitCode = 1
}

/** Effect first, then who asks, why it waits, what limits it and what happens if nobody acts. */
function printCard(message: Msg): void {
  const line = (name: string, value: string): void => console.log(`${name.padEnd(10)} ${visible(value)}`)
  line('WHAT', `${header(message, 'Sluice-Topic')} ${message.string()}`)
  line('WHO', `${header(message, 'Sluice-Actor')} of tenant ${header(message, 'Sluice-Tenant')}`)
  line('WHY', `${header(message, 'Sluice-Rule')}: ${header(message, 'Sluice-Reason')}`)
  line('LIMITS', header(message, 'Sluice-Constraints'))
  line('IF NOT', `expires ${header(message, 'Sluice-Expires')}, and then it does not run`)
  line('JOB', header(message, 'Sluice-Job'))
  line('BOUND TO', `${header(message, 'Sluice-Job-Hash')} under policy ${header(message, 'Sluice-Policy')}`)
}

/** A job's text is its author's: what could move the cursor or turn the writing direction is shown, not obeyed. */
function visible(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  )
}

function header(message: Msg, name: string): string {
  return message.headers?.get(name) ?? ''
}
