import * as z from 'zod'

/** The keys that a schema knows at a place of the file, for a did-you-mean. Empty where any key is welcome. */
export function keysIn(schema: z.ZodType): (path: readonly PropertyKey[]) => readonly string[] {
  return (path) => {
    let at: unknown = schema
    for (const part of path) at = step(at, part)
    return objectsIn(at).flatMap((object) => Object.keys(object.shape))
  }
}

function step(schema: unknown, part: PropertyKey): unknown {
  const inner = unwrapped(schema)
  if (inner instanceof z.ZodArray) return inner.element
  if (inner instanceof z.ZodRecord) return inner.valueType
  for (const object of objectsIn(inner)) {
    const next: unknown = object.shape[String(part)]
    if (next !== undefined) return next
  }
  return undefined
}

function objectsIn(schema: unknown): readonly z.ZodObject[] {
  const inner = unwrapped(schema)
  if (inner instanceof z.ZodObject) return [inner]
  return inner instanceof z.ZodUnion ? inner.options.flatMap(objectsIn) : []
}

function unwrapped(schema: unknown): unknown {
  return schema instanceof z.ZodOptional ? unwrapped(schema.unwrap()) : schema
}
