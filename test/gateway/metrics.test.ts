import { describe, expect, test } from 'vitest'
import { createMetrics } from '../../gateway/metrics.ts'
import type { Decision } from '../../policy/evaluate.ts'

const decision = (rule_id: string, type: Decision['type'] = 'ALLOW'): Decision => ({
  type,
  rule_id,
  reason: 'r',
  policy_snapshot: 's',
  constraints: null,
  matched: [],
})
const lines = async (metrics: ReturnType<typeof createMetrics>, name: string): Promise<string[]> =>
  (await metrics.text()).split('\n').filter((line) => line.startsWith(name))

describe('metrics', () => {
  test('two gateways in one process do not count for each other', async () => {
    const [one, two] = [createMetrics(), createMetrics()]
    one.evaluationFailed()
    expect(await lines(one, 'sluice_evaluation_errors_total')).toEqual(['sluice_evaluation_errors_total 1'])
    expect(await lines(two, 'sluice_evaluation_errors_total')).toEqual(['sluice_evaluation_errors_total 0'])
  })

  test('a policy with more rules than a scrape should hold is counted as other beyond the first thousand', async () => {
    const metrics = createMetrics()
    for (let rule = 0; rule < 1_500; rule++) metrics.decided(decision(`rule-${rule}`))
    metrics.decided(decision('rule-7'))
    const counted = await lines(metrics, 'sluice_decisions_total')
    expect(counted).toHaveLength(1_001)
    expect(counted).toContain('sluice_decisions_total{decision="ALLOW",rule_id="rule-7"} 2')
    expect(counted).toContain('sluice_decisions_total{decision="ALLOW",rule_id="other"} 500')
  })

  test('a refusal that only going round the gate produces is a bypass attempt, another is not', async () => {
    const metrics = createMetrics()
    for (const code of ['bad-token', 'wrong-pool', 'self_approval']) metrics.refused(code)
    for (const code of ['stale_binding', 'already_resolved', 'flood']) metrics.refused(code)
    expect(await lines(metrics, 'sluice_bypass_attempts_total')).toEqual(['sluice_bypass_attempts_total 3'])
    expect(await lines(metrics, 'sluice_refused_total')).toHaveLength(6)
  })

  test('only an expiry out of waiting for approval is an expired approval', async () => {
    const metrics = createMetrics()
    for (const from of ['PARKED', 'THROTTLED', 'QUARANTINED'] as const) metrics.moved('expired', from)
    metrics.moved('rejected', 'PARKED')
    expect(await lines(metrics, 'sluice_approvals_expired_total')).toEqual([
      'sluice_approvals_expired_total 1',
    ])
    expect(await lines(metrics, 'sluice_job_events_total')).toEqual([
      'sluice_job_events_total{event="expired"} 3',
      'sluice_job_events_total{event="rejected"} 1',
    ])
  })

  test('exactly one policy and one fail mode are in force', async () => {
    const metrics = createMetrics()
    metrics.setPolicy('first', true)
    metrics.setPolicy('second', false)
    metrics.setFailMode('closed')
    metrics.setFailMode('open')
    expect(await lines(metrics, 'sluice_policy_info')).toEqual(['sluice_policy_info{snapshot="second"} 1'])
    expect(await lines(metrics, 'sluice_policy_last_reload_success')).toEqual([
      'sluice_policy_last_reload_success 0',
    ])
    expect(await lines(metrics, 'sluice_fail_mode')).toEqual([
      'sluice_fail_mode{mode="closed"} 0',
      'sluice_fail_mode{mode="open"} 1',
    ])
  })
})
