import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { subjectMatches } from '../../policy/topic.ts'
import { refusedPublishes, refusedSubscriptions } from '../helpers/attempts.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'

const job = 'default.m0123456789012345678901234'

/** What anybody might try to publish on. */
const publishes = [
  'worker.helpdesk.mcp-bridge.read.x',
  `worker.helpdesk.mcp-bridge.read.x.${job}.1`,
  `worker.exec.agent.exec.x.${job}.1`,
  `audit.${job}`,
  'audit._policy',
  'audit._control',
  `audit._refused.${job}`,
  'audit._source.gateway-1',
  `gov.dispatch.helpdesk.mcp-bridge.read.x.${job}.1`,
  `gov.dispatch.exec.agent.exec.x.${job}.1`,
  `gov.throttled.${job}`,
  `gov.quarantine.${job}`,
  `gov.command.${job}`,
  'gov.anything',
  `approvals.pending.${job}`,
  `approvals.resolve.demo-approver.${job}`,
  `approvals.resolve.second-approver.${job}`,
  'approvals.resolve.demo-approver.one',
  `approvals.resolve.demo-approver.${job}.more`,
  'job.mcp-bridge.read.x',
  'job.support-bot.read.x',
  'job.billing-bot.read.x',
  'http.default.demo.read.x',
  `result.helpdesk-1.${job}`,
  `result.helpdesk-2.${job}`,
  `result.exec-1.${job}`,
  `result.helpdesk.helpdesk-1.${job}`,
  'hb.helpdesk-1',
  'hb.helpdesk-2',
  'hb.exec-1',
  'hb.helpdesk.helpdesk-1',
  `cancel.helpdesk-1.${job}`,
  `cancel.helpdesk.helpdesk-1.${job}`,
  'decision.default.demo.x',
  'decision.x',
  'output.default.demo.x',
  'output.x',
  'control.pause',
  '_INBOX.somebody.x',
  '_INBOX_gateway.x',
  '_INBOX_support-bot.x',
  '_INBOX_billing-bot.x',
  '_INBOX_helpdesk-1.x',
  '_INBOX_helpdesk-2.x',
  '_INBOX_demo-approver.x',
  '_INBOX_second-approver.x',
  '_R_.somebody.x',
  '$KV.gov_budget.default.rule',
  '$KV.gov_policy.current',
  '$KV.gov_control.pause',
  '$KV.another.x',
  '$JS.API.INFO',
  '$JS.API.STREAM.LIST',
  '$JS.API.STREAM.NAMES',
  '$JS.API.STREAM.CREATE.EVIL',
  '$JS.API.STREAM.UPDATE.AUDIT',
  '$JS.API.STREAM.DELETE.AUDIT',
  '$JS.API.STREAM.PURGE.AUDIT',
  '$JS.API.STREAM.MSG.DELETE.AUDIT',
  '$JS.API.STREAM.MSG.DELETE.JOBS_default_demo',
  '$JS.API.STREAM.MSG.DELETE.APPROVALS',
  '$JS.API.STREAM.MSG.DELETE.WORK',
  '$JS.API.STREAM.MSG.DELETE.THROTTLED',
  '$JS.API.STREAM.MSG.GET.AUDIT',
  '$JS.API.STREAM.MSG.GET.APPROVALS',
  '$JS.API.STREAM.SNAPSHOT.AUDIT',
  '$JS.API.STREAM.RESTORE.AUDIT',
  '$JS.API.STREAM.INFO.AUDIT',
  '$JS.API.STREAM.INFO.APPROVALS',
  '$JS.API.DIRECT.GET.AUDIT',
  `$JS.API.DIRECT.GET.AUDIT.audit.${job}`,
  '$JS.API.DIRECT.GET.APPROVALS',
  '$JS.API.CONSUMER.CREATE.AUDIT',
  '$JS.API.CONSUMER.CREATE.APPROVALS.evil',
  '$JS.API.CONSUMER.DURABLE.CREATE.WORK.evil',
  '$JS.API.CONSUMER.DELETE.WORK.gw',
  '$JS.API.CONSUMER.INFO.WORK.gw',
  '$JS.API.CONSUMER.INFO.WORK.exec',
  '$JS.API.CONSUMER.MSG.NEXT.JOBS_default_demo.gw',
  '$JS.API.CONSUMER.MSG.NEXT.WORK.exec',
  '$JS.API.CONSUMER.MSG.NEXT.APPROVALS.approvers',
  '$JS.API.ACCOUNT.PURGE.GOV',
  'gov.API.STREAM.CREATE.EVIL',
  'gov.API.STREAM.DELETE.AUDIT',
  'gov.API.STREAM.PURGE.AUDIT',
  'gov.API.STREAM.MSG.GET.AUDIT',
  'gov.API.STREAM.MSG.DELETE.AUDIT',
  'gov.API.STREAM.INFO.AUDIT',
  'gov.API.STREAM.INFO.APPROVALS',
  'gov.API.DIRECT.GET.AUDIT',
  `gov.API.DIRECT.GET.AUDIT.audit.${job}`,
  'gov.API.DIRECT.GET.APPROVALS',
  'gov.API.CONSUMER.CREATE.APPROVALS',
  'gov.API.CONSUMER.DELETE.APPROVALS.approvers',
  'gov.API.CONSUMER.INFO.APPROVALS.approvers',
  'gov.API.CONSUMER.MSG.NEXT.APPROVALS.approvers',
  'gov.API.CONSUMER.MSG.NEXT.APPROVALS.gw',
  'gov.API.CONSUMER.INFO.WORK.exec',
  'gov.API.CONSUMER.MSG.NEXT.WORK.exec',
  'gov.API.CONSUMER.MSG.NEXT.WORK.gw',
  '$JS.ACK.JOBS_default_demo.gw.1.1.1.1.0',
  '$JS.ACK.APPROVALS.gw.1.1.1.1.0',
  '$JS.ACK.APPROVALS.approvers.1.1.1.1.0',
  '$JS.ACK.WORK.exec.1.1.1.1.0',
  '$JS.ACK.dom.hash.WORK.exec.1.1.1.1.0.x',
  '$JS.ACK.dom.hash.WORK.gw.1.1.1.1.0.x',
  '$JS.ACK.dom.hash.APPROVALS.approvers.1.1.1.1.0.x',
  '$SYS.REQ.SERVER.PING',
  '$SYS.REQ.ACCOUNT.GOV.CONNZ',
]

/** What anybody might try to listen to; a queue group stands after a space. */
const subscriptions = [
  '>',
  '*',
  '*.>',
  'job.>',
  'job.> gw',
  'http.>',
  'worker.>',
  'worker.helpdesk.>',
  'worker.helpdesk.> helpdesk',
  'worker.helpdesk.> another',
  'worker.exec.>',
  'worker.exec.> exec',
  'audit.>',
  'gov.>',
  'gov.dispatch.>',
  'approvals.>',
  'approvals.pending.>',
  'approvals.resolve.>',
  'result.>',
  'result.helpdesk.>',
  'hb.>',
  'control.>',
  'cancel.>',
  'cancel.helpdesk-1.>',
  'cancel.helpdesk-2.>',
  'cancel.exec-1.>',
  'decision.>',
  'decision.acme.>',
  'output.>',
  '_INBOX.>',
  '_INBOX_gateway.>',
  '_INBOX_support-bot.>',
  '_INBOX_billing-bot.>',
  '_INBOX_helpdesk-1.>',
  '_INBOX_helpdesk-2.>',
  '_INBOX_exec-1.>',
  '_INBOX_demo-approver.>',
  '_INBOX_second-approver.>',
  '_INBOX_demo-auditor.>',
  '_R_.>',
  '$JS.>',
  '$JS.ACK.>',
  '$JS.EVENT.ADVISORY.>',
  '$KV.>',
  '$SYS.>',
]

type Grants = { publish: string[]; subscribe: string[] }

const pullApprovals = [
  'gov.API.CONSUMER.INFO.APPROVALS.approvers',
  'gov.API.CONSUMER.MSG.NEXT.APPROVALS.approvers',
  '$JS.ACK.APPROVALS.approvers.>',
  '$JS.ACK.*.*.APPROVALS.approvers.>',
]

/** All that each user may do. Whatever of the lists above is not covered here must be refused. */
const grants: Record<string, Grants> = {
  // Alone in its account, so nothing but its own tenant and agent can be behind any job.> of it.
  demo: { publish: ['job.>'], subscribe: ['_INBOX.>', 'decision.>', 'decision.acme.>', 'output.>'] },
  'support-bot': { publish: ['job.support-bot.>'], subscribe: ['_INBOX_support-bot.>'] },
  'billing-bot': { publish: ['job.billing-bot.>'], subscribe: ['_INBOX_billing-bot.>'] },
  'helpdesk-1': {
    publish: ['result.helpdesk-1.>', 'hb.helpdesk-1'],
    subscribe: ['_INBOX_helpdesk-1.>', 'worker.helpdesk.> helpdesk', 'cancel.helpdesk-1.>'],
  },
  'helpdesk-2': {
    publish: ['result.helpdesk-2.>', 'hb.helpdesk-2'],
    subscribe: ['_INBOX_helpdesk-2.>', 'worker.helpdesk.> helpdesk', 'cancel.helpdesk-2.>'],
  },
  'exec-1': {
    publish: [
      'result.exec-1.>',
      'hb.exec-1',
      'gov.API.CONSUMER.INFO.WORK.exec',
      'gov.API.CONSUMER.MSG.NEXT.WORK.exec',
      '$JS.ACK.WORK.exec.>',
      '$JS.ACK.*.*.WORK.exec.>',
    ],
    subscribe: ['_INBOX_exec-1.>', 'cancel.exec-1.>'],
  },
  'demo-approver': {
    publish: ['approvals.resolve.demo-approver.*.*', ...pullApprovals],
    subscribe: ['_INBOX_demo-approver.>'],
  },
  'second-approver': {
    publish: ['approvals.resolve.second-approver.*.*', ...pullApprovals],
    subscribe: ['_INBOX_second-approver.>'],
  },
  'demo-auditor': {
    publish: ['gov.API.DIRECT.GET.AUDIT', 'gov.API.DIRECT.GET.AUDIT.>', 'gov.API.STREAM.INFO.AUDIT'],
    subscribe: ['_INBOX_demo-auditor.>'],
  },
  gateway: {
    publish: [
      ...[
        'audit.>',
        'gov.dispatch.>',
        'gov.throttled.>',
        'gov.quarantine.>',
        'gov.command.>',
        'approvals.pending.>',
      ],
      ...['decision.>', 'output.>', 'cancel.>', 'http.>', '_R_.>'],
      ...['$KV.gov_budget.>', '$KV.gov_policy.>', '$KV.gov_control.>'],
      ...['$JS.API.STREAM.INFO.*', '$JS.API.STREAM.MSG.GET.*', '$JS.API.DIRECT.GET.>'],
      ...['APPROVALS', 'WORK', 'THROTTLED'].map((stream) => `$JS.API.STREAM.MSG.DELETE.${stream}`),
      ...[
        '$JS.API.CONSUMER.INFO.*.gw',
        '$JS.API.CONSUMER.MSG.NEXT.*.gw',
        '$JS.ACK.*.gw.>',
        '$JS.ACK.*.*.*.gw.>',
      ],
    ],
    subscribe: [
      ...['_INBOX_gateway.>', 'job.>', 'job.> gw', 'decision.>', 'decision.acme.>', 'approvals.resolve.>'],
      ...['control.>', 'hb.>'],
    ],
  },
}

describe('the server refuses whatever is not granted', () => {
  let nats: TestNats
  beforeAll(async () => {
    nats = await startTestNats()
  })
  afterAll(() => nats.stop())

  test('the lists are about every user there is', () => {
    const users = Object.keys(nats.passwords).filter((user) => user !== 'owner' && user !== 'sys')
    expect(Object.keys(grants).toSorted()).toEqual(users.toSorted())
  })

  test.each(Object.keys(grants))('publishes of %s', async (user) => {
    const allowed = grants[user]?.publish ?? []
    const expected = publishes.filter(
      (subject) => !allowed.some((pattern) => subjectMatches(pattern, subject)),
    )
    const refused = await refusedPublishes(await nats.connect(user), publishes)
    expect([...refused.keys()].toSorted()).toEqual(expected.toSorted())
    for (const words of refused.values()) expect(words).toContain('Permissions Violation')
  })

  test.each(Object.keys(grants))('subscriptions of %s', async (user) => {
    const allowed = new Set(grants[user]?.subscribe)
    const refused = await refusedSubscriptions(await nats.connect(user), subscriptions)
    expect(refused.toSorted()).toEqual(subscriptions.filter((text) => !allowed.has(text)).toSorted())
  })

  test('the owner of the streams is not there while the system runs', async () => {
    await expect(nats.connect('owner', { reconnect: false })).rejects.toThrow(/authoriz/i)
  })

  test('no attempt left anything on the trail, in WORK or among the approvals', async () => {
    const gateway = await nats.connect('gateway')
    const subjects = async (stream: string): Promise<unknown> => {
      const answer = await gateway.request(
        `$JS.API.STREAM.INFO.${stream}`,
        JSON.stringify({ subjects_filter: '>' }),
      )
      return answer.json<{ state: { subjects?: unknown } }>().state.subjects ?? {}
    }
    // The gateway's own attempts are all there is: one for each subject that it tried and may write.
    expect(await subjects('AUDIT')).toEqual(
      counted(publishes.filter((subject) => subject.startsWith('audit.'))),
    )
    expect(await subjects('WORK')).toEqual(
      counted(publishes.filter((subject) => subject.startsWith('gov.dispatch.'))),
    )
    expect(await subjects('APPROVALS')).toEqual(counted([`approvals.pending.${job}`]))
    // And what the agent said stands under the agent's own name, whatever it said.
    expect(await subjects('JOBS_default_demo')).toEqual(
      counted(
        publishes
          .filter((subject) => subject.startsWith('job.'))
          .map((subject) => `job.default.demo.${subject.slice(4)}`),
      ),
    )
    expect(await subjects('JOBS_acme_billing-bot')).toEqual(counted(['job.acme.billing-bot.read.x']))
  })
})

function counted(subjects: readonly string[]): Record<string, number> {
  return Object.fromEntries(subjects.map((subject) => [subject, 1]))
}
