import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { evaluate } from '../../policy/evaluate.ts'
import { parseJob } from '../../policy/job.ts'
import { loadPolicy } from '../../policy/load.ts'

const loaded = loadPolicy(readFileSync(new URL('../../deploy/policy.yaml', import.meta.url), 'utf8'))
if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
const { policy } = loaded

function decide(topic: string, tags: readonly string[]) {
  const body = Buffer.from(JSON.stringify({ risk_tags: tags }))
  const parsed = parseJob({ tenant: 'default', agent: 'demo' }, topic, body)
  if (!parsed.ok) throw new Error(parsed.refusal.reason)
  return evaluate(policy, parsed.job, { nowMs: 0, granted: [] })
}

describe("the table that decides arguments, on the mission's own policy", () => {
  it.each([
    ['job.mcp-bridge.read.get_ticket', [], 'ALLOW', 'allow-low-risk-read'],
    ['job.mcp-bridge.read.get_ticket', ['destructive'], 'DENY', 'deny-destructive'],
    ['job.mcp-bridge.write.update_ticket', ['prod'], 'REQUIRE_APPROVAL', 'require-approval-prod-write'],
    ['job.mcp-bridge.write.update_ticket', ['prod', 'destructive'], 'DENY', 'deny-destructive'],
    ['job.mcp-bridge.write.update_ticket', [], 'DENY', 'sluice.no-match'],
    ['job.agent.exec.run', ['medium'], 'ALLOW_WITH_CONSTRAINTS', 'constrain-medium-risk'],
    ['job.mcp-bridge.read.a.b', [], 'DENY', 'sluice.no-match'],
  ] as const)('%s %j is %s by %s', (topic, tags, type, ruleId) => {
    expect(decide(topic, tags).decision).toMatchObject({ type, rule_id: ruleId })
  })

  it('constrains an exec job to 45 seconds and one retry', () => {
    expect(decide('job.agent.exec.run', ['medium']).decision.constraints).toEqual({
      max_runtime_sec: 45,
      max_retries: 1,
    })
  })
})
