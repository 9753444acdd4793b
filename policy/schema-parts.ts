import * as z from 'zod'
import { parseDurationMs } from './duration.ts'
import {
  capabilityBytesMax,
  hasControlCharacter,
  labelKeyBytesMax,
  labelValueBytesMax,
  longerThan,
  tagBytesMax,
} from './job.ts'

/** Entries of any list in a policy file, at most. */
const listMax = 1_000

/** Text of 1 to `charsMax` characters. */
export const word = (charsMax: number) =>
  z
    .string({ error: 'must be text' })
    .min(1, 'must not be empty')
    .max(charsMax, `must be at most ${charsMax} characters`)

/** A list that is neither empty (it could never hold) nor without bound. */
export const listOf = <Entry extends z.ZodType>(entry: Entry, what: string) =>
  z
    .array(entry, { error: `must be a list of ${what}` })
    .min(1, 'must not be an empty list')
    .max(listMax, `must have at most ${listMax} entries`)

/** As `listOf`, but an empty list means something: nothing at all. */
export const anyListOf = <Entry extends z.ZodType>(entry: Entry, what: string) =>
  z.array(entry, { error: `must be a list of ${what}` }).max(listMax, `must have at most ${listMax} entries`)

export const whole = (least: number, most: number) =>
  z
    .int({ error: 'must be a whole number' })
    .min(least, `must be at least ${least}`)
    .max(most, `must be at most ${most}`)

const durationText = 'must be a duration such as 500ms, 10s, 5m, 1h or 7d'

export const duration = (least: string, most: string) =>
  z
    .string({ error: durationText })
    .regex(/^[0-9]{1,9}(ms|s|m|h|d)$/, durationText)
    .refine((text) => within(text, least, most), `must be from ${least} to ${most}`)

function within(text: string, least: string, most: string): boolean {
  const ms = parseDurationMs(text)
  // What is no duration at all has been said already.
  if (ms === undefined) return true
  return ms >= (parseDurationMs(least) ?? 0) && ms <= (parseDurationMs(most) ?? 0)
}

/** Tenants and actors are single tokens of a subject; a wildcard here would silently match nothing. */
export const principal = z
  .string({ error: 'must be text' })
  .regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'must be 1 to 32 of a-z, 0-9 and "-", with no wildcards')

/** Text that a job can say as well; what it cannot say would be a condition that never holds and looks as if it did. */
const sayable = (bytesMax: number, bytesMin: number) =>
  z
    .string({ error: 'must be text' })
    .min(bytesMin, 'must not be empty')
    .max(bytesMax, `must be at most ${bytesMax} bytes`)
    .refine(
      (text) => text.length > bytesMax || !longerThan(text, bytesMax),
      `must be at most ${bytesMax} bytes`,
    )

const singleLine = (text: string): boolean => !hasControlCharacter(text)
const noControls = 'has a control character, which no job can have there'

export const tag = sayable(tagBytesMax, 1).refine(singleLine, noControls)
export const capability = sayable(capabilityBytesMax, 1).refine(singleLine, noControls)
export const labelKey = sayable(labelKeyBytesMax, 1).refine(singleLine, noControls)
export const labelValue = sayable(labelValueBytesMax, 0)

/** A group of which at least one key must be there: an empty one would say nothing and look as if it did. */
export const someOf = <Shape extends z.ZodRawShape>(shape: Shape, error: string) =>
  z.strictObject(shape, { error }).refine((parts) => Object.keys(parts).length > 0, 'must not be empty')

/** A group of which exactly one key must be there. */
export const oneOf = <Shape extends z.ZodRawShape>(shape: Shape, error: string) =>
  z
    .strictObject(shape, { error })
    .refine(
      (parts) => Object.keys(parts).length === 1,
      `must have exactly one of ${Object.keys(shape).join(', ')}`,
    )
