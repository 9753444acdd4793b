import { describe, expect, it } from 'vitest'
import { loadPolicy } from '../../policy/load.ts'
import { nearMisses, type NearMiss } from '../../policy/near-miss.ts'
import { readScene } from '../../policy/scene.ts'

const nowMs = Date.parse('2026-06-01T12:00:00Z')

function missOf(text: string, job: object, ruleId: string): NearMiss | undefined {
  const loaded = loadPolicy(text)
  const read = readScene({ topic: 'job.a.x', ...job })
  if (!loaded.ok || !read.ok) throw new Error('the policy or the job of the test is none')
  return nearMisses(loaded.policy, read.scene.job, nowMs).find(({ rule_id }) => rule_id === ruleId)
}

const derived = (match: string, rule: string): string =>
  `version: v1\ntags: [{add: [prod], match: ${match}}]\nrules: [{id: r, decision: allow, ${rule}}]\n`

describe('a change with which the job would have fewer risk tags is not suggested', () => {
  it.each([
    [
      'to leave out the label',
      derived('{labels: {env: {prefix: prod}}}', 'match: {risk_tags: []}'),
      { labels: { env: 'prod' } },
    ],
    [
      'to set the label to something else',
      derived('{labels: {env: prod}}', 'match: {labels: {env: test}}'),
      { labels: { env: 'prod' } },
    ],
    [
      'to use another topic',
      derived('{topics: ["job.a.*"]}', 'match: {topics: ["job.b.*"]}'),
      { topic: 'job.a.x' },
    ],
    [
      'to change the payload',
      derived('{payload: {/live: true}}', 'match: {payload: {/live: false}}'),
      { payload: { live: true } },
    ],
    [
      'to come at another time',
      derived('{time: {zone: UTC, days: [mon]}}', 'match: {}, unless: {time: {zone: UTC, days: [mon]}}'),
      {},
    ],
  ])('%s that the tag is derived from', (_, text, job) => {
    const miss = missOf(text, job, 'r')
    expect(miss?.failed).toHaveLength(1)
    expect(miss).not.toHaveProperty('change')
  })

  it('and one that keeps them is', () => {
    const text = derived('{labels: {env: prod}}', 'match: {topics: ["job.b.*"]}')
    expect(missOf(text, { labels: { env: 'prod' } }, 'r')?.change?.edits).toEqual([
      'use a topic such as job.b.x',
    ])
  })
})

it('the tags that were found are those of this moment', () => {
  const text = derived('{time: {zone: UTC, days: [mon]}}', 'match: {risk_tags: []}')
  expect(missOf(text, {}, 'r')?.failed).toEqual([
    { clause: 'match.risk_tags', wanted: 'no tags at all', found: 'prod' },
  ])
})

it('a time that is suggested is still to come', () => {
  const text =
    'version: v1\nrules: [{id: r, decision: allow, match: {time: {zone: UTC, from: "22:00", to: "23:00"}}}]\n'
  const [edit = ''] = missOf(text, {}, 'r')?.change?.edits ?? []
  const suggestedMs = Date.parse(edit.slice('submit it at such a time as '.length))
  expect(suggestedMs).toBeGreaterThanOrEqual(nowMs)
  expect(new Date(suggestedMs).getUTCHours()).toBe(22)
})
