/** Things by name of which only the newest are kept: so many of them, and so many bytes together. */
export type Newest<Thing> = {
  get(name: string): Thing | undefined
  /** `bytes` is what the thing costs, as far as that is known. */
  put(name: string, thing: Thing, bytes: number): void
  drop(name: string): void
}

export type NewestLimits = { readonly countMax: number; readonly bytesMax: number }

/** An empty one. A thing that is put again is new again. */
export function createNewest<Thing>({ countMax, bytesMax }: NewestLimits): Newest<Thing> {
  const kept = new Map<string, { readonly thing: Thing; readonly bytes: number }>()
  let bytesKept = 0
  const drop = (name: string): void => {
    bytesKept -= kept.get(name)?.bytes ?? 0
    kept.delete(name)
  }
  return {
    get: (name) => kept.get(name)?.thing,
    drop,
    put: (name, thing, bytes) => {
      drop(name)
      kept.set(name, { thing, bytes })
      bytesKept += bytes
      while (kept.size > countMax || (bytesKept > bytesMax && kept.size > 0))
        drop(kept.keys().next().value as string)
    },
  }
}
