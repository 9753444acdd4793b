import * as z from 'zod'
import { policyFile } from './schema.ts'

/**
 * The policy file's JSON Schema (2020-12), for editors. Made from the schema that the loader uses; it knows shapes, words and
 * bounds, and leaves to the loader what no JSON Schema can say (duplicate ids, blocks that do not fit the decision).
 */
export function policyJsonSchema(): Record<string, unknown> {
  return { title: 'Sluice policy, version v1', ...z.toJSONSchema(policyFile, { io: 'input' }) }
}
