import { describe, expect, test } from 'vitest'

import { actsOf } from '../../cli/nats-acts.ts'
import { attempt } from '../../cli/nats-attempt.ts'
import { natsUsers, passwordVariable } from '../../gateway/nats/conf.ts'
import { everybody } from '../helpers/roles.ts'
import { demoTopology } from '../helpers/topology.ts'

/**
 * A server of your own, that runs nats.conf: `SLUICE_TEST_NATS_URL` says where, and the users are tried whose passwords
 * are in the variables that nats.conf reads. Only what must be refused is tried, so nothing is left on the server.
 */
const url = process.env['SLUICE_TEST_NATS_URL']
const topology = await demoTopology()
const passwords = Object.fromEntries(
  natsUsers(topology).flatMap((user) => {
    const password = process.env[passwordVariable(user)]
    return password === undefined ? [] : [[user, password] as const]
  }),
)
const credentials = everybody(topology, passwords).filter(({ user }) => Object.hasOwn(passwords, user))

describe.skipIf(url === undefined)('the server at SLUICE_TEST_NATS_URL', () => {
  test('has users whose passwords are known here', () => {
    expect(credentials).not.toEqual([])
  })

  test.each(credentials)('refuses $user whatever it has not been granted', async ({ user }) => {
    const acts = actsOf(credentials).filter(
      ({ type, expected, credential }) =>
        expected === 'refused' && type !== 'header' && credential.user === user,
    )
    expect((await attempt(url ?? '', acts)).filter(({ ok }) => !ok)).toEqual([])
  })
})
