import { z } from 'zod'

import type { Credential } from './dev/credentials.ts'

/** A credential of ready.json, or the gateway's, which ready.json does not have. */
export type RoleCredential = Omit<Credential, 'role' | 'password'> & {
  readonly role: Credential['role'] | 'gateway'
  readonly password?: string
  readonly nkey_seed?: string
}

/** The part of ready.json that says who there is; what else stands in it is not looked at. */
export const CredentialsFile = z.object({
  nats_url: z.string().optional(),
  credentials: z
    .array(
      z
        .object({
          role: z.enum(['agent', 'worker', 'approver', 'auditor', 'operator', 'gateway']),
          user: z.string(),
          password: z.string().optional(),
          nkey_seed: z.string().optional(),
          account: z.string(),
          inbox_prefix: z.string(),
          tenant: z.string().optional(),
          actor: z.string(),
          publish: z.string().optional(),
          subscribe: z.array(z.string()).optional(),
          queue: z.string().optional(),
          cancel: z.string().optional(),
          pool: z.string().optional(),
          js_api_prefix: z.string().optional(),
          stream: z.string().optional(),
          consumer: z.string().optional(),
        })
        .refine(({ password, nkey_seed: seed }) => password !== undefined || seed !== undefined, {
          message: 'needs a password or an nkey_seed',
        }),
    )
    .min(1),
})

/** The gateway's own credential, as ready.json would have it. */
export function gatewayCredential(password: string): RoleCredential {
  const user = 'gateway'
  return { role: user, user, password, account: 'GOV', inbox_prefix: '_INBOX_gateway', actor: user }
}

/** What a user may publish and subscribe to; a queue group stands after a space, as nats.conf has it. */
export type Grants = { readonly publish: readonly string[]; readonly subscribe: readonly string[] }

/**
 * All that a role is there for, said a second time and not read from nats.conf: whatever else the server lets it do is a
 * leak.
 */
export function grantsOf(credential: RoleCredential): Grants {
  const { role, actor, inbox_prefix: inbox } = credential
  switch (role) {
    case 'agent':
      return {
        publish: [`${credential.publish ?? `job.${actor}.`}>`],
        subscribe: [`${inbox}.>`, ...(credential.subscribe ?? [])],
      }
    case 'worker': {
      const queue = credential.queue === undefined ? '' : ` ${credential.queue}`
      return {
        publish: [`result.${actor}.>`, `hb.${actor}`, ...pulls(credential)],
        subscribe: [
          ...[`${inbox}.>`, credential.cancel ?? `cancel.${actor}.>`],
          ...(credential.subscribe ?? []).map((subject) => subject + queue),
        ],
      }
    }
    case 'approver':
      return {
        publish: [`approvals.resolve.${actor}.*.*`, ...pulls(credential)],
        subscribe: [`${inbox}.>`, ...(credential.subscribe ?? [])],
      }
    case 'auditor':
      return {
        publish: ['DIRECT.GET.AUDIT', 'DIRECT.GET.AUDIT.>', 'STREAM.MSG.GET.AUDIT', 'STREAM.INFO.AUDIT'].map(
          (verb) => `${credential.js_api_prefix ?? '$JS.API'}.${verb}`,
        ),
        subscribe: [`${inbox}.>`, ...(credential.subscribe ?? [])],
      }
    case 'operator':
      return {
        publish: ['stop', 'resume', 'list'].map((verb) => `control.${actor}.${verb}`),
        subscribe: [`${inbox}.>`],
      }
    case 'gateway':
      return gatewayGrants
  }
}

/** One consumer: to ask about it, to pull from it, and to acknowledge in both forms. */
function pulls({ js_api_prefix: api, stream, consumer }: RoleCredential): string[] {
  if (api === undefined || stream === undefined || consumer === undefined) return []
  return [
    `${api}.CONSUMER.INFO.${stream}.${consumer}`,
    `${api}.CONSUMER.MSG.NEXT.${stream}.${consumer}`,
    `$JS.ACK.${stream}.${consumer}.>`,
    `$JS.ACK.*.*.${stream}.${consumer}.>`,
  ]
}

const gatewayGrants: Grants = {
  publish: [
    ...['audit.>', 'gov.dispatch.>', 'gov.throttled.>', 'gov.quarantine.>', 'gov.command.>'],
    ...['approvals.pending.>', 'decision.>', 'output.>', 'cancel.>', 'http.>', '_R_.>', 'approvals.notify.>'],
    ...['$KV.gov_budget.>', '$KV.gov_policy.>', '$KV.gov_control.>', '$KV.gov_asked.>'],
    ...['$JS.API.STREAM.INFO.*', '$JS.API.STREAM.MSG.GET.*', '$JS.API.DIRECT.GET.>'],
    ...['APPROVALS', 'WORK', 'THROTTLED'].map((stream) => `$JS.API.STREAM.MSG.DELETE.${stream}`),
    ...['$JS.API.CONSUMER.INFO.*.gw', '$JS.API.CONSUMER.MSG.NEXT.*.gw'],
    ...['$JS.ACK.*.gw.>', '$JS.ACK.*.*.*.gw.>'],
  ],
  subscribe: ['_INBOX_gateway.>', 'job.>', 'decision.>', 'approvals.resolve.>', 'control.>', 'hb.>'],
}

/**
 * Does one of the grants cover the subject, which may have wildcards itself? A grant without a queue group covers every
 * group, one with a group only that group.
 */
export function covered(grants: readonly string[], wanted: string): boolean {
  const [subject = '', queue] = wanted.split(' ')
  return grants.some((grant) => {
    const [pattern = '', group] = grant.split(' ')
    return (group === undefined || group === queue) && contains(pattern, subject)
  })
}

function contains(pattern: string, subject: string): boolean {
  const wide = pattern.split('.')
  const narrow = subject.split('.')
  for (const [index, part] of wide.entries()) {
    if (part === '>') return narrow.length > index
    const token = narrow[index]
    if (token === undefined || token === '>' || (part !== '*' && part !== token)) return false
  }
  return wide.length === narrow.length
}
