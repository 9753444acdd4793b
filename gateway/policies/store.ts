import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import type { Bus } from '../bus/bus.ts'

// Not in this thread: a large policy takes longer than a job should wait.
const pack = promisify(gzip)
const unpack = promisify(gunzip)

/**
 * Policy texts by snapshot, in the bucket `gov_policy`: what a record names as its policy can be fetched as long as the
 * bucket is kept. Beside them stand two pointers that every gateway reads: `active`, which goes before the file, and
 * `shadow`.
 */
export type PolicyStore = {
  /** Keeps a text; one that is kept already stays as it is. */
  keep(snapshot: string, text: string): Promise<void>
  text(snapshot: string): Promise<string | undefined>
  snapshots(): Promise<readonly string[]>
  pointer(name: PointerName): Promise<Pointer | undefined>
  point(name: PointerName, to: Pointer): Promise<void>
}

export type PointerName = 'active' | 'shadow'

/** `snapshot` null takes the pointer away. */
export type Pointer = {
  readonly snapshot: string | null
  readonly by: string
  readonly reason: string
  readonly at: string
}

const bucket = '$KV.gov_policy.'
const stream = 'KV_gov_policy'
/** Well below what a server takes in one message. */
const partBytesMax = 512 * 1024

export function createPolicyStore(bus: Bus): PolicyStore {
  const put = async (key: string, body: Uint8Array | string, parts?: number): Promise<void> => {
    const headers = parts === undefined ? undefined : { 'Sluice-Parts': String(parts) }
    const appended = await bus.append(bucket + key, body, { expect: 0, headers })
    // A conflict means that it is there: the key is a hash of what stands under it.
    if (appended.type === 'refused') throw new Error(`the policy cannot be kept: ${appended.detail}`)
  }
  return {
    keep: async (snapshot, text) => {
      const bytes = Buffer.from(text)
      if (bytes.length <= partBytesMax) return put(snapshot, bytes)
      if ((await bus.last(stream, bucket + snapshot)) !== undefined) return
      const packed = await pack(bytes)
      const count = Math.ceil(packed.length / partBytesMax)
      for (let part = 0; part < count; part++)
        await put(`${snapshot}.${part}`, packed.subarray(part * partBytesMax, (part + 1) * partBytesMax))
      // Last, so that whoever sees the key finds all of its parts.
      await put(snapshot, '', count)
    },
    text: async (snapshot) => {
      const stored = await bus.last(stream, bucket + snapshot)
      if (stored === undefined) return undefined
      const count = Number(stored.header('Sluice-Parts'))
      if (count === 0) return Buffer.from(stored.body).toString()
      const parts: Uint8Array[] = []
      for (let part = 0; part < count; part++) {
        const one = await bus.last(stream, `${bucket}${snapshot}.${part}`)
        if (one === undefined) return undefined
        parts.push(one.body)
      }
      return (await unpack(Buffer.concat(parts))).toString()
    },
    snapshots: async () => {
      const info = await bus.request(`$JS.API.STREAM.INFO.${stream}`, { subjects_filter: `${bucket}*` })
      const { subjects } = info['state'] as { subjects?: Record<string, number> | null }
      return Object.keys(subjects ?? {})
        .map((subject) => subject.slice(bucket.length))
        .filter((key) => /^[0-9a-f]{64}$/.test(key))
    },
    pointer: async (name) => {
      const stored = await bus.last(stream, bucket + name)
      return stored === undefined ? undefined : (JSON.parse(Buffer.from(stored.body).toString()) as Pointer)
    },
    point: async (name, to) => {
      const appended = await bus.append(bucket + name, JSON.stringify(to))
      if (appended.type !== 'stored') throw new Error('the bucket gov_policy takes nothing')
    },
  }
}
