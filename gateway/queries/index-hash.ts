import { randomBytes } from 'node:crypto'

/** 64 bits of a key, as two unsigned halves. The same object is handed out each time: read it before hashing again. */
export type KeyHash = (key: string) => { readonly low: number; readonly high: number }

/**
 * HalfSipHash-1-3 over UTF-16 units with a secret of its own: keys are chosen by strangers, and whoever could choose keys
 * that collide could make the index slow. It runs for every record, and a digest of node:crypto costs several times as much.
 */
export function createKeyHash(): KeyHash {
  const secret = randomBytes(8)
  const key0 = secret.readInt32LE(0)
  const key1 = secret.readInt32LE(4)
  const hashed = { low: 0, high: 0 }
  let v0 = 0
  let v1 = 0
  let v2 = 0
  let v3 = 0

  const round = (): void => {
    v0 = (v0 + v1) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
  }
  const take = (word: number): void => {
    v3 ^= word
    round()
    v0 ^= word
  }
  const finish = (): number => {
    round()
    round()
    round()
    return (v1 ^ v3) >>> 0
  }
  return (key) => {
    v0 = key0
    v1 = key1 ^ 0xee
    v2 = key0 ^ 0x6c796765
    v3 = key1 ^ 0x74656462
    const { length } = key
    const even = length & ~1
    for (let index = 0; index < even; index += 2)
      take(key.charCodeAt(index) | (key.charCodeAt(index + 1) << 16))
    // The length is part of the last word, so that no key is the beginning of another.
    take((length << 16) | (even === length ? 0 : key.charCodeAt(even)))
    v2 ^= 0xee
    hashed.low = finish()
    v1 ^= 0xdd
    hashed.high = finish()
    return hashed
  }
}
