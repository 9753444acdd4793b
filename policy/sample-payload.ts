import { payloadHolds, type PayloadCondition, type Scalar } from './payload.ts'
import { isNumber, numberSamples, textSamples } from './sample-value.ts'

export type PayloadWanted = { readonly test: PayloadCondition; readonly holds: boolean }

const triesMax = 20_000

/**
 * A payload for which every test comes out as wanted; `unsure` when there were too many to try. Places are filled one
 * after the other; a place above another is an object or nothing, so that both can be there.
 */
export function samplePayload(
  wanted: readonly PayloadWanted[],
): { readonly value: unknown } | 'none' | 'unsure' {
  const places = [...new Map(wanted.map(({ test }) => [test.pointer, test.steps])).values()]
    // Deep places first: what stands above them is then an object already, or still free.
    .toSorted((a, b) => b.length - a.length)
  let tries = 0
  const fill = (at: number, payload: unknown): { value: unknown } | 'none' | 'unsure' => {
    const steps = places[at]
    if (steps === undefined) return { value: payload }
    const here = wanted.filter(
      ({ test }) => test.steps === steps || test.pointer === pointerOf(wanted, steps),
    )
    let unsure = false
    for (const sample of samplesFor(here, payload, steps)) {
      if (++tries > triesMax) return 'unsure'
      const next = placed(payload, steps, sample)
      // What stands deeper is settled; a value here must not have changed it.
      const settled = wanted.filter(({ test }) => test.steps.length > steps.length)
      if (![...here, ...settled].every(({ test, holds }) => payloadHolds(test, next) === holds)) continue
      const filled = fill(at + 1, next)
      if (filled === 'unsure') unsure = true
      else if (filled !== 'none') return filled
    }
    return unsure ? 'unsure' : 'none'
  }
  return fill(0, undefined)
}

const nothing = Symbol('nothing stands there')
const left = Symbol('what stands there stays')

type Sample = Scalar | object | typeof nothing | typeof left

function samplesFor(here: readonly PayloadWanted[], payload: unknown, steps: readonly string[]): Sample[] {
  const tests = here.map(({ test }) => test.test)
  const values = tests.flatMap((test) => (test.kind === 'one_of' ? test.values : []))
  const prefixes = tests.flatMap((test) => (test.kind === 'prefix' ? [test.prefix] : []))
  const ranges = tests.flatMap((test) => (test.kind === 'range' ? [test.range] : []))
  const texts = [...values.filter((value) => typeof value === 'string'), ...prefixes]
  const samples: Sample[] = [
    nothing,
    ...values,
    ...numberSamples(ranges, values.filter(isNumber), false),
    ...textSamples(texts),
    {},
  ]
  // Something deeper is there: only leaving it, or not needing this place, can go with that.
  return valueAt(payload, steps) === undefined ? samples : [left]
}

function pointerOf(wanted: readonly PayloadWanted[], steps: readonly string[]): string | undefined {
  return wanted.find(({ test }) => test.steps === steps)?.test.pointer
}

function valueAt(payload: unknown, steps: readonly string[]): unknown {
  let at = payload
  for (const step of steps) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, step)) return undefined
    at = (at as Record<string, unknown>)[step]
  }
  return at
}

/** The payload with a value put at a place. Keys are defined and not assigned: `__proto__` is a key like any other. */
export function placed(payload: unknown, steps: readonly string[], sample: unknown): unknown {
  if (sample === left || sample === nothing) return payload
  const [step, ...rest] = steps
  if (step === undefined) return sample
  const entries = typeof payload === 'object' && payload !== null ? Object.entries(payload) : []
  const below = entries.find(([key]) => key === step)?.[1] as unknown
  return Object.fromEntries([...entries.filter(([key]) => key !== step), [step, placed(below, rest, sample)]])
}
