import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { startGateway } from '../../gateway/gateway.ts'
import { evaluate } from '../../policy/evaluate.ts'
import { apiOf } from '../helpers/api.ts'
import { testConfig } from '../helpers/gateway.ts'
import { startTestNats } from '../helpers/nats-server.ts'

const job = { topic: 'job.mcp-bridge.read.x' }

test('a decision that its own snapshot does not give again is found when a test server stops', async () => {
  const nats = await startTestNats()
  const config = await testConfig(nats, await readFile('deploy/policy.yaml', 'utf8'))
  const gateway = await startGateway(config, {
    evaluate: (policy, asked, facts) => {
      const evaluation = evaluate(policy, asked, facts)
      return { ...evaluation, decision: { ...evaluation.decision, reason: 'made up' } }
    },
  })
  const answer = await apiOf(gateway.httpUrl)('POST', '/api/v1/jobs', job)
  expect(answer.body['decision']).toMatchObject({ type: 'ALLOW', reason: 'made up' })
  await gateway.stop()
  await expect(nats.stop()).rejects.toThrow(
    `not reproduced from the record: ${String(answer.body['job_id'])}`,
  )
})
