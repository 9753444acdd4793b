import type { Job } from './job.ts'
import type { Condition, Rule, TagCondition } from './rule.ts'
import { subjectMatches } from './topic.ts'

/** Does the rule cover the job? `tags` are the declared and the derived ones together. */
export function ruleMatches(rule: Rule, job: Job, tags: ReadonlySet<string>): boolean {
  if (!conditionHolds(rule.match, job, tags)) return false
  return rule.unless === null || !conditionHolds(rule.unless, job, tags)
}

function conditionHolds(condition: Condition, job: Job, tags: ReadonlySet<string>): boolean {
  const { topics, tenants, actors, capabilities, riskTags, labels } = condition
  if (topics !== undefined && !topics.some((pattern) => subjectMatches(pattern, job.topic))) return false
  if (tenants !== undefined && !tenants.includes(job.tenant)) return false
  if (actors !== undefined && !actors.includes(job.agent)) return false
  if (capabilities !== undefined && (job.capability === undefined || !capabilities.includes(job.capability)))
    return false
  if (riskTags !== undefined && !tagsHold(riskTags, tags)) return false
  if (labels === undefined) return true
  for (const [key, wanted] of labels) if (job.labels.get(key) !== wanted) return false
  return true
}

function tagsHold(condition: TagCondition, tags: ReadonlySet<string>): boolean {
  if (condition.empty === true && tags.size > 0) return false
  if (condition.any !== undefined && !condition.any.some((tag) => tags.has(tag))) return false
  if (condition.all !== undefined && !condition.all.every((tag) => tags.has(tag))) return false
  return condition.none === undefined || !condition.none.some((tag) => tags.has(tag))
}
