import { connect } from '@nats-io/transport-node'
import { describe, expect, test } from 'vitest'

import { passwordVariable } from '../../gateway/nats-conf.ts'
import { refusedPublishes, refusedSubscriptions } from '../helpers/attempts.ts'
import { deafTo, grants, refusedTo } from './attempt-lists.ts'

/**
 * A server of your own, that runs nats.conf: `SLUICE_TEST_NATS_URL` says where, and the users are tried whose passwords
 * are in the variables that nats.conf reads. Only what must be refused is tried, so nothing is left on the server.
 */
const url = process.env['SLUICE_TEST_NATS_URL']
const users = Object.keys(grants).filter((user) => process.env[passwordVariable(user)] !== undefined)

describe.skipIf(url === undefined)('the server at SLUICE_TEST_NATS_URL', () => {
  test('has users whose passwords are known here', () => {
    expect(users).not.toEqual([])
  })

  test.each(users)('refuses %s whatever it has not been granted', async (user) => {
    const connection = await connect({
      servers: url ?? '',
      user,
      pass: process.env[passwordVariable(user)] ?? '',
      inboxPrefix: `_INBOX_${user}`,
    })
    try {
      const refused = await refusedPublishes(connection, refusedTo(user))
      expect([...refused.keys()].toSorted()).toEqual(refusedTo(user).toSorted())
      expect((await refusedSubscriptions(connection, deafTo(user))).toSorted()).toEqual(
        deafTo(user).toSorted(),
      )
    } finally {
      await connection.close()
    }
  })
})
