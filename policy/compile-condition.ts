import { payloadCondition, type PayloadTest, type Range, type Scalar } from './payload.ts'
import type { Condition, LabelCondition, TagCondition } from './rule.ts'
import type { ConditionFile } from './schema.ts'
import { dayNames, parseMinutes, timeWindow, type TimeWindow } from './time-window.ts'

/** A condition as written, in its one normal form: lists sorted and without repetition, every test spelt out. */
export function compileCondition(written: ConditionFile): Condition {
  const {
    topics,
    tenants,
    actors,
    actor_types: types,
    capabilities,
    risk_tags: tags,
    labels,
    payload,
    size,
    time,
  } = written
  return {
    ...(topics === undefined ? {} : { topics: normalList(topics) }),
    ...(tenants === undefined ? {} : { tenants: normalList(tenants) }),
    ...(actors === undefined ? {} : { actors: normalList(actors) }),
    ...(types === undefined ? {} : { actorTypes: normalList(types) }),
    ...(capabilities === undefined ? {} : { capabilities: normalList(capabilities) }),
    ...(tags === undefined ? {} : { riskTags: compileTags(tags) }),
    ...(labels === undefined ? {} : { labels: byKey(labels).map(([key, test]) => compileLabel(key, test)) }),
    ...(payload === undefined
      ? {}
      : {
          payload: byKey(payload).map(([pointer, test]) =>
            payloadCondition(pointer, compilePayloadTest(test)),
          ),
        }),
    ...(size === undefined ? {} : { size: compileRange(size) }),
    ...(time === undefined ? {} : { time: compileTime(time) }),
  }
}

/** Sorted and each entry once, so that one meaning has one spelling. */
export function normalList<Entry extends string>(list: readonly Entry[]): readonly Entry[] {
  return [...new Set(list)].toSorted()
}

function byKey<Value>(map: Readonly<Record<string, Value>>): [string, Value][] {
  return Object.entries(map).toSorted(([a], [b]) => (a < b ? -1 : 1))
}

function compileTags(written: NonNullable<ConditionFile['risk_tags']>): TagCondition {
  if (Array.isArray(written)) return written.length === 0 ? { empty: true } : { any: normalList(written) }
  const { any, all, none } = written
  return {
    ...(any === undefined ? {} : { any: normalList(any) }),
    ...(all === undefined ? {} : { all: normalList(all) }),
    ...(none === undefined ? {} : { none: normalList(none) }),
  }
}

function compileLabel(key: string, written: NonNullable<ConditionFile['labels']>[string]): LabelCondition {
  if (typeof written === 'string') return { key, kind: 'one_of', values: [written] }
  const { equals, one_of: oneOf, prefix, present } = written
  if (equals !== undefined) return { key, kind: 'one_of', values: [equals] }
  if (oneOf !== undefined) return { key, kind: 'one_of', values: normalList(oneOf) }
  if (prefix !== undefined) return { key, kind: 'prefix', prefix }
  return { key, kind: 'present', present: present ?? true }
}

function compilePayloadTest(written: NonNullable<ConditionFile['payload']>[string]): PayloadTest {
  if (typeof written !== 'object' || written === null) return { kind: 'one_of', values: [written] }
  const { equals, one_of: oneOf, prefix, exists, ...bounds } = written
  if (equals !== undefined) return { kind: 'one_of', values: [equals] }
  if (oneOf !== undefined) return { kind: 'one_of', values: normalScalars(oneOf) }
  if (prefix !== undefined) return { kind: 'prefix', prefix }
  if (exists !== undefined) return { kind: 'exists', exists }
  return { kind: 'range', range: compileRange(bounds) }
}

function normalScalars(values: readonly Scalar[]): readonly Scalar[] {
  const order = (value: Scalar) => `${typeof value} ${JSON.stringify(value)}`
  return [...new Set(values)].toSorted((a, b) => (order(a) < order(b) ? -1 : 1))
}

function compileRange(written: NonNullable<ConditionFile['size']>): Range {
  const { at_least: atLeast, above, at_most: atMost, below } = written
  return {
    ...(atLeast === undefined ? {} : { atLeast }),
    ...(above === undefined ? {} : { above }),
    ...(atMost === undefined ? {} : { atMost }),
    ...(below === undefined ? {} : { below }),
  }
}

function compileTime(written: NonNullable<ConditionFile['time']>): TimeWindow {
  const { zone, days, from, to } = written
  return timeWindow({
    zone,
    days: normalList(days ?? dayNames),
    fromMinute: minutes(from ?? '00:00'),
    toMinute: minutes(to ?? '24:00'),
  })
}

function minutes(text: string): number {
  const parsed = parseMinutes(text)
  if (parsed === undefined) throw new Error(`a time of day passed the schema and is none: ${text}`)
  return parsed
}
