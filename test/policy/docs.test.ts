import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { detectors } from '../../policy/detectors.ts'
import type { BuiltinRuleId } from '../../policy/evaluate.ts'
import { policyJsonSchema } from '../../policy/json-schema.ts'
import { loadPolicyFiles } from '../../policy/load.ts'

const text = readFileSync(new URL('../../docs/policy.md', import.meta.url), 'utf8')
const blocks = [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map((found) => found[1] ?? '')
const base = { text: 'version: v1\nrules:\n  - {id: base, match: {}, decision: allow}\n' }

/** Every key that a policy file may have, wherever it stands. */
function keysOf(schema: unknown): string[] {
  if (typeof schema !== 'object' || schema === null) return []
  return Object.entries(schema).flatMap(([name, inner]: [string, unknown]) =>
    name === 'properties' && typeof inner === 'object' && inner !== null
      ? Object.entries(inner).flatMap(([key, value]) => [key, ...keysOf(value)])
      : keysOf(inner),
  )
}

describe('docs/policy.md', () => {
  it('has examples', () => {
    expect(blocks.length).toBeGreaterThan(6)
  })

  it.each(blocks.map((block) => [block.slice(0, 60).replaceAll('\n', ' '), block] as const))(
    'loads: %s',
    (_, block) => {
      const whole = block.startsWith('- id:') ? `version: v1\nrules:\n${block}` : block
      const loaded = loadPolicyFiles(whole.includes('overlay:') ? [{ text: whole }, base] : [{ text: whole }])
      expect(loaded.ok ? [] : loaded.problems).toEqual([])
    },
  )

  it('knows every key of the language', () => {
    const keys = [...new Set(keysOf(policyJsonSchema()))]
    expect(keys.length).toBeGreaterThan(40)
    expect(keys.filter((key) => !new RegExp(`\\b${key}\\b`).test(text))).toEqual([])
  })

  it('knows every detector and every rule id of our own', () => {
    for (const detector of detectors) expect(text).toContain(`\`${detector.id}\``)
    const own: Record<BuiltinRuleId, true> = {
      'sluice.no-match': true,
      'sluice.invalid-job': true,
      'sluice.identity-mismatch': true,
      'sluice.idempotency-conflict': true,
      'sluice.error': true,
      'sluice.timeout': true,
      'sluice.queue-full': true,
      'sluice.no-pool': true,
      'sluice.expired': true,
      'sluice.rejected-before': true,
      'sluice.stopped': true,
    }
    for (const id of Object.keys(own)) expect(text).toContain(`\`${id}\``)
  })
})
