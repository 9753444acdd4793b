import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import * as z from 'zod'
import { policyJsonSchema } from '../../policy/json-schema.ts'
import { loadPolicy } from '../../policy/load.ts'
import { policyFile } from '../../policy/schema.ts'
import { Dice, randomFiles } from './random-policy.ts'

/** What a JSON Schema can say; everything else is the loader's alone. */
const shapeCodes = [
  'policy-unknown-key',
  'policy-unknown-word',
  'policy-missing-key',
  'policy-wrong-type',
  'policy-version',
]

const asEditor = z.fromJSONSchema(policyJsonSchema())
const accepts = (value: unknown) => asEditor.safeParse(value).success

describe('the JSON Schema for editors', () => {
  it('is the file that ships, made from the schema that the loader uses (vitest -u writes it)', async () => {
    const text = `${JSON.stringify(policyJsonSchema(), null, 2)}\n`
    await expect(text).toMatchFileSnapshot('../../deploy/policy.schema.json')
  })

  it("accepts the mission's policy", () => {
    expect(accepts(parse(readFileSync(new URL('../../deploy/policy.yaml', import.meta.url), 'utf8')))).toBe(
      true,
    )
  })

  it('accepts whatever the loader accepts', () => {
    const dice = new Dice(5)
    for (let round = 0; round < 200; round++) {
      for (const file of randomFiles(dice, 12)) {
        if (policyFile.safeParse(file).success) expect(accepts(file)).toBe(true)
      }
    }
  })

  const bad = new URL('bad/', import.meta.url)
  const shapeMistakes = readdirSync(bad).filter((name) => {
    const loaded = loadPolicy(readFileSync(new URL(name, bad), 'utf8'))
    const isPlainYaml = !['number-key.yaml', 'proto-key.yaml'].includes(name)
    return isPlainYaml && !loaded.ok && loaded.problems.some((problem) => shapeCodes.includes(problem.code))
  })

  it('is held against many mistakes of shape', () => {
    expect(shapeMistakes.length).toBeGreaterThan(25)
  })

  it.each(shapeMistakes)('refuses %s', (name) => {
    expect(accepts(parse(readFileSync(new URL(name, bad), 'utf8')))).toBe(false)
  })
})
