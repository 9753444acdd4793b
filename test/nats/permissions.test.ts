import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { refusedPublishes, refusedSubscriptions } from '../helpers/attempts.ts'
import { startTestNats, type TestNats } from '../helpers/nats-server.ts'
import { deafTo, grants, job, publishes, refusedTo, subscriptions } from './attempt-lists.ts'

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
    const refused = await refusedPublishes(await nats.connect(user), publishes)
    expect([...refused.keys()].toSorted()).toEqual(refusedTo(user).toSorted())
    for (const words of refused.values()) expect(words).toContain('Permissions Violation')
  })

  test.each(Object.keys(grants))('subscriptions of %s', async (user) => {
    const refused = await refusedSubscriptions(await nats.connect(user), subscriptions)
    expect(refused.toSorted()).toEqual(deafTo(user).toSorted())
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
