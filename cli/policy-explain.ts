import { explain, explainRefusal, type Explanation } from '../policy/explain.ts'
import { readScene } from '../policy/scene.ts'
import { exitCodes } from './exit-codes.ts'
import { readJobFile, readPolicy, type Read } from './policy-files.ts'
import { refused, UsageError, type Call, type Subcommand } from './subcommand.ts'
import { visible } from './visible.ts'

export const policyExplain: Subcommand = {
  about: 'why a job is decided as it is, and what came close',
  help: `usage: sluice policy explain --job JOB.json [--policy FILE]...

Says which rules match a job, which of them decides, and for the rules that came closest which clause failed and the
smallest change that would alter the outcome. With --policy it works without a gateway; else the running one is asked.
A job file is a job as it would be submitted and may name "tenant", "actor", "actor_type", "bytes" and "now" as well;
--job - reads standard input. Limits are asked for no slot, so a rule that throttles says THROTTLE.

  --job FILE        the job
  --policy FILE     the policy; several times for several files

  sluice policy explain --policy deploy/policy.yaml --job job.json -o json
`,
  options: { job: 'text', policy: 'list' },
  words: { min: 0, max: 0 },
  run: async (call) => {
    const file = call.text['job']
    if (file === undefined) throw new UsageError('say the job: --job FILE')
    const job = await readJobFile(call, file)
    if (!job.ok) return job.code
    const told = await explained(call, job.value)
    if (!told.ok) return told.code
    showExplanation(call, told.value)
    return exitCodes.ok
  },
}

/** By the policy files that the call names, else by the running gateway. */
export async function explained(call: Call, job: unknown): Promise<Read<Explanation>> {
  const files = call.lists['policy'] ?? []
  if (files.length === 0) {
    const reply = await (
      await call.gateway()
    ).call('POST', '/api/v1/policy/explain', { body: Buffer.from(JSON.stringify(job)) })
    if (reply.status !== 200) return { ok: false, code: refused(call, reply) }
    return { ok: true, value: reply.body as unknown as Explanation }
  }
  const policy = await readPolicy(call, files)
  if (!policy.ok) return policy
  const read = readScene(job)
  if (!read.ok) return { ok: true, value: explainRefusal(policy.value, read.refusal) }
  const { job: parsed, nowMs } = read.scene
  return { ok: true, value: explain(policy.value, parsed, nowMs ?? call.terminal.nowMs()) }
}

export function showExplanation(call: Call, told: Explanation): void {
  if (call.json) call.terminal.out(JSON.stringify(told))
  else for (const line of linesOf(told)) call.terminal.out(visible(line))
}

function linesOf(told: Explanation): string[] {
  const { decision, matched_rules: matched, near_misses: near, risk_tags: tags } = told
  const lines = [`${decision.type} by ${decision.rule_id}: ${decision.reason}`]
  if (tags.derived.length > 0) lines.push(`tags that the policy derives: ${tags.derived.join(', ')}`)
  if (decision.constraints !== null) lines.push(`constraints: ${JSON.stringify(decision.constraints)}`)
  for (const rule of matched) lines.push(`matches  ${rule.id} (${rule.decision})`)
  for (const { rule_id, decision: outcome, failed, change } of near) {
    lines.push(`close    ${rule_id} (${outcome})`)
    for (const { clause, wanted, found } of failed)
      lines.push(`           ${clause} wants ${wanted}; found ${found}`)
    if (change !== undefined)
      lines.push(`           it would be ${change.outcome.type}: ${change.edits.join(', and ')}`)
  }
  return lines
}
