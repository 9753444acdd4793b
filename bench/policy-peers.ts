import { AbilityBuilder, createMongoAbility } from '@casl/ability'
import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import { ConflictResolutionStrategy, PolicyEngine, type PolicyRule } from '@microsoft/agent-governance-sdk'
import { newEnforcer, newModelFromString } from 'casbin'
import { Engine, type NestedCondition } from 'json-rules-engine'
import type { Job } from '../policy/job.ts'
import type { PolicyFile, RuleFile } from '../policy/schema.ts'

/** Another engine with the same rules. It answers with the id of the rule that decides, or undefined where none matches. */
export type Peer = {
  readonly name: string
  load(file: PolicyFile): Promise<(job: Prepared) => string | undefined | Promise<string | undefined>>
}

/** A job as all of them can read it: topic tokens apart, so that no engine needs a pattern of its own. Made before the clock starts. */
export type Prepared = {
  readonly [key: string]: string | number | readonly string[] | Readonly<Record<string, string>>
}

export function prepared(job: Job): Prepared {
  const tokens = job.topic.split('.').slice(1)
  const flat = Object.fromEntries(tokens.map((token, at) => [`t${at}`, token]))
  const tagged = Object.fromEntries(job.riskTags.map((tag) => [`tag_${tag.replaceAll('-', '_')}`, 'yes']))
  const labels = Object.fromEntries([...job.labels].map(([key, value]) => [labelName(key), value]))
  const { tenant, agent: actor, capability = '' } = job
  return { ...flat, ...tagged, ...labels, n: tokens.length, tenant, actor, capability, tags: job.riskTags }
}

/** Without a dash, which some engines read as a minus. */
function labelName(key: string): string {
  return `label_${key.replaceAll('-', '_')}`
}

/** What a rule asks, as tests on single attributes; all must hold. */
type Test =
  | { readonly at: string; readonly is: 'one_of'; readonly values: readonly string[] }
  | { readonly at: 'n'; readonly is: 'exactly' | 'at_least'; readonly count: number }
  | { readonly is: 'tagged' | 'untagged'; readonly tags: readonly string[] }

function testsOf({ match }: RuleFile): Test[] {
  const tests: Test[] = []
  const tokens = (match.topics?.[0] ?? 'job.>').split('.').slice(1)
  const open = tokens.at(-1) === '>'
  tests.push({ at: 'n', is: open ? 'at_least' : 'exactly', count: tokens.length })
  for (const [at, token] of tokens.entries())
    if (token !== '*' && token !== '>') tests.push({ at: `t${at}`, is: 'one_of', values: [token] })
  if (match.tenants !== undefined) tests.push({ at: 'tenant', is: 'one_of', values: match.tenants })
  if (match.actors !== undefined) tests.push({ at: 'actor', is: 'one_of', values: match.actors })
  if (match.capabilities !== undefined)
    tests.push({ at: 'capability', is: 'one_of', values: match.capabilities })
  for (const [key, test] of Object.entries(match.labels ?? {}))
    tests.push({
      at: labelName(key),
      is: 'one_of',
      values: typeof test === 'string' ? [test] : (test.one_of ?? []),
    })
  const tags = match.risk_tags
  const any = Array.isArray(tags) ? tags : tags?.any
  if (any !== undefined) tests.push({ is: 'tagged', tags: any })
  if (tags !== undefined && !Array.isArray(tags) && tags.none !== undefined)
    tests.push({ is: 'untagged', tags: tags.none })
  return tests
}

const order: readonly RuleFile['decision'][] = [
  'deny',
  'throttle',
  'require_approval',
  'allow_with_constraints',
  'allow',
]

/** Rules from the one that goes before all others down: where several match, the first of them decides. */
export function byPrecedence(file: PolicyFile): readonly RuleFile[] {
  const rank = ({ decision }: RuleFile): number => order.indexOf(decision)
  return file.rules.toSorted((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1))
}

export const peers: readonly Peer[] = [
  {
    name: '@casl/ability',
    load: async (file) => {
      const { can, build } = new AbilityBuilder(createMongoAbility)
      // The last rule wins here, so the one that goes before all others comes last.
      for (const rule of byPrecedence(file).toReversed())
        can('run', 'Job', caslConditions(rule)).because(rule.id)
      const ability = build({ detectSubjectType: () => 'Job' })
      return (job) => ability.relevantRuleFor('run', job as never)?.reason
    },
  },
  {
    name: 'casbin',
    load: async (file) => {
      const model = newModelFromString(
        '[request_definition]\nr = job\n[policy_definition]\np = rule, eft\n[policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = holds(p.rule, r.job)',
      )
      const enforcer = await newEnforcer(model)
      const rules = byPrecedence(file)
      // Its own expressions would be read again for every rule; a function of ours is the quickest it can call.
      const tests = new Map(rules.map((rule) => [rule.id, testsOf(rule)]))
      await enforcer.addFunction('holds', (id: string, job: Prepared) => holds(tests.get(id) ?? [], job))
      await enforcer.addPolicies(rules.map(({ id }) => [id, 'allow']))
      return (job) => enforcer.enforceExSync(job)[1][0]
    },
  },
  {
    name: 'json-rules-engine',
    load: async (file) => {
      const engine = new Engine([], { allowUndefinedFacts: true })
      const rules = byPrecedence(file)
      for (const [at, rule] of rules.entries())
        engine.addRule({
          conditions: { all: testsOf(rule).map(jsonCondition) },
          event: { type: rule.id },
          priority: rules.length - at,
        })
      let found: string | undefined
      engine.on('success', (event) => {
        found ??= event.type
        engine.stop()
      })
      return async (job) => {
        found = undefined
        await engine.run({ ...job })
        return found
      }
    },
  },
  {
    name: '@cedar-policy/cedar-wasm',
    load: async (file) => {
      const rules = byPrecedence(file)
      const places = new Map(rules.map(({ id }, at) => [id, at]))
      const staticPolicies = Object.fromEntries(rules.map((rule) => [rule.id, cedarPolicy(rule)]))
      const parsed = cedar.preparsePolicySet(`bench-${rules.length}`, { staticPolicies })
      if (parsed.type !== 'success') throw new Error('Cedar does not take the rules')
      const one = (type: string): { type: string; id: string } => ({ type, id: 'x' })
      return (job) => {
        const answer = cedar.statefulIsAuthorized({
          principal: one('Agent'),
          action: one('Action'),
          resource: one('Topic'),
          context: job as never,
          preparsedPolicySetId: `bench-${rules.length}`,
          entities: [],
        })
        if (answer.type !== 'success') throw new Error('Cedar does not take the job')
        // It names all rules that match and has no order among them.
        return answer.response.diagnostics.reason.toSorted(
          (a, b) => (places.get(a) ?? 0) - (places.get(b) ?? 0),
        )[0]
      }
    },
  },
  {
    name: '@microsoft/agent-governance-sdk',
    load: async (file) => {
      const rules = byPrecedence(file)
      const engine = new PolicyEngine([], ConflictResolutionStrategy.PriorityFirstMatch)
      const written = rules.map((rule, at): PolicyRule => ({
        name: rule.id,
        condition: agtCondition(rule),
        ruleAction: 'allow',
        priority: rules.length - at,
      }))
      engine.loadPolicy({ name: 'bench', rules: written, default_action: 'deny', scope: 'global' })
      return (job) => engine.evaluatePolicy('did:bench', { ...job }).matchedRule
    },
  },
]

function holds(tests: readonly Test[], job: Prepared): boolean {
  for (const test of tests) {
    switch (test.is) {
      case 'one_of':
        if (!test.values.includes(job[test.at] as string)) return false
        break
      case 'exactly':
        if (job['n'] !== test.count) return false
        break
      case 'at_least':
        if ((job['n'] as number) < test.count) return false
        break
      case 'tagged':
      case 'untagged': {
        const tags = job['tags'] as readonly string[]
        if (test.tags.some((tag) => tags.includes(tag)) !== (test.is === 'tagged')) return false
      }
    }
  }
  return true
}

function caslConditions(rule: RuleFile): Record<string, unknown> {
  return Object.fromEntries(
    testsOf(rule).map((test): [string, unknown] => {
      switch (test.is) {
        case 'one_of':
          return [test.at, test.values.length === 1 ? test.values[0] : { $in: test.values }]
        case 'exactly':
          return ['n', test.count]
        case 'at_least':
          return ['n', { $gte: test.count }]
        case 'tagged':
          return ['tags', { $in: test.tags }]
        case 'untagged':
          return ['tags', { $nin: test.tags }]
      }
    }),
  )
}

function jsonCondition(test: Test): NestedCondition {
  switch (test.is) {
    case 'one_of':
      return { fact: test.at, operator: 'in', value: test.values }
    case 'exactly':
      return { fact: 'n', operator: 'equal', value: test.count }
    case 'at_least':
      return { fact: 'n', operator: 'greaterThanInclusive', value: test.count }
    case 'tagged':
      return { any: test.tags.map((tag) => ({ fact: 'tags', operator: 'contains', value: tag })) }
    case 'untagged':
      return { all: test.tags.map((tag) => ({ fact: 'tags', operator: 'doesNotContain', value: tag })) }
  }
}

function cedarPolicy(rule: RuleFile): string {
  const text = JSON.stringify
  const parts = testsOf(rule).map((test) => {
    switch (test.is) {
      case 'one_of':
        return `context has ${test.at} && ${text(test.values)}.contains(context.${test.at})`
      case 'exactly':
        return `context.n == ${test.count}`
      case 'at_least':
        return `context.n >= ${test.count}`
      case 'tagged':
        return `context.tags.containsAny(${text(test.tags)})`
      case 'untagged':
        return `!context.tags.containsAny(${text(test.tags)})`
    }
  })
  return `permit(principal, action, resource) when { ${parts.join(' && ')} };`
}

/** "or" binds weakest and there are no brackets, so a choice of tags is written out. */
function agtCondition(rule: RuleFile): string {
  let choices: string[][] = [[]]
  for (const test of testsOf(rule)) {
    const flat = (tag: string): string => `tag_${tag.replaceAll('-', '_')}`
    switch (test.is) {
      case 'one_of': {
        const list = test.values.map((value) => `'${value}'`).join(', ')
        choices = choices.map((parts) => [...parts, `${test.at} in [${list}]`])
        break
      }
      case 'exactly':
        choices = choices.map((parts) => [...parts, `n >= ${test.count}`, `n <= ${test.count}`])
        break
      case 'at_least':
        choices = choices.map((parts) => [...parts, `n >= ${test.count}`])
        break
      case 'tagged':
        choices = choices.flatMap((parts) => test.tags.map((tag) => [...parts, `${flat(tag)} == 'yes'`]))
        break
      case 'untagged':
        choices = choices.map((parts) => [...parts, ...test.tags.map((tag) => `${flat(tag)} != 'yes'`)])
    }
  }
  return choices.map((parts) => parts.join(' and ')).join(' or ')
}
