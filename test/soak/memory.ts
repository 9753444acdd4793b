/** What a gateway holds, in bytes, after it has collected its garbage. */
export type Sample = { readonly heap: number; readonly rss: number }

const mebibyte = 1024 * 1024
/** How much more may be held at the end than in the second quarter: caches fill, and then no more. */
const growthMax = 1.3
const growthFloor = 24 * mebibyte
/** With fewer samples nothing can be said. */
const samplesMin = 12

/** From the gateway's own metrics. */
export async function sampleOf(port: number): Promise<Sample> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const value = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1])
  return { heap: value('nodejs_heap_size_used_bytes'), rss: value('process_resident_memory_bytes') }
}

/** What is wrong with the way these went, if anything is. */
export function leakIn(samples: readonly Sample[]): string | undefined {
  if (samples.length < samplesMin) return undefined
  const quarter = samples.length >> 2
  for (const kind of ['heap', 'rss'] as const) {
    const early = median(samples.slice(quarter, 2 * quarter).map((sample) => sample[kind]))
    const late = median(samples.slice(-quarter).map((sample) => sample[kind]))
    if (late > early * growthMax + growthFloor)
      return `${kind} grew from ${inMebibytes(early)} to ${inMebibytes(late)}`
  }
  return undefined
}

/** `heap 41 43 42 MiB, rss 130 131 130 MiB`: some of the samples, evenly. */
export function trend(samples: readonly Sample[]): string {
  const shown = Array.from(
    { length: Math.min(8, samples.length) },
    (_, n, last = Math.min(8, samples.length) - 1) =>
      samples[last === 0 ? 0 : Math.round((n * (samples.length - 1)) / last)] as Sample,
  )
  const of = (kind: keyof Sample): string =>
    shown.map((sample) => Math.round(sample[kind] / mebibyte)).join(' ')
  return `heap ${of('heap')} MiB, rss ${of('rss')} MiB`
}

const inMebibytes = (bytes: number): string => `${Math.round(bytes / mebibyte)} MiB`

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}
