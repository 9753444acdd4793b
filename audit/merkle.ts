import { sha256 } from '../policy/digest.ts'

/**
 * The Merkle tree of RFC 6962: a leaf is hashed behind a 0x00 byte and a node behind a 0x01 byte, so that neither can be taken
 * for the other.
 */

const leafMark = Buffer.from([0])
const hashBytes = 32
const node = Buffer.alloc(1 + 2 * hashBytes, 1)

/** Text is hashed as UTF-8. */
export function leafHash(leaf: string | Uint8Array): Buffer {
  return sha256(typeof leaf === 'string' ? `\0${leaf}` : Buffer.concat([leafMark, leaf]))
}

function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  node.set(left, 1)
  node.set(right, 1 + hashBytes)
  return sha256(node)
}

/** A whole tree over leaf hashes: its root and every leaf's way up to it (RFC 6962, 2.1.1). */
export type Tree = { readonly root: Buffer; readonly paths: readonly (readonly Buffer[])[] }

/** Builds the tree with one hash for each inner node; at least one leaf. */
export function growTree(leafHashes: readonly Buffer[]): Tree {
  const first = leafHashes[0]
  if (first === undefined) throw new Error('a tree has at least one leaf')
  const paths: Buffer[][] = leafHashes.map(() => [])
  const grow = (from: number, to: number): Buffer => {
    if (to - from === 1) return leafHashes[from] as Buffer
    const middle = from + largestPowerBelow(to - from)
    const left = grow(from, middle)
    const right = grow(middle, to)
    for (let index = from; index < to; index++) (paths[index] as Buffer[]).push(index < middle ? right : left)
    return nodeHash(left, right)
  }
  return { root: grow(0, leafHashes.length), paths }
}

/** The root that a leaf's path leads to, or undefined when path and place do not fit (RFC 9162, 2.1.3.2). */
export function rootFromPath(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
): Buffer | undefined {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size)
    return undefined
  let node = index
  let last = size - 1
  let hash: Buffer = Buffer.from(leaf)
  for (const sibling of path) {
    if (last === 0) return undefined
    if (node % 2 === 1 || node === last) {
      hash = nodeHash(sibling, hash)
      while (node % 2 === 0 && node !== 0) {
        node = Math.floor(node / 2)
        last = Math.floor(last / 2)
      }
    } else hash = nodeHash(hash, sibling)
    node = Math.floor(node / 2)
    last = Math.floor(last / 2)
  }
  return last === 0 ? hash : undefined
}

function largestPowerBelow(size: number): number {
  let power = 1
  while (power * 2 < size) power *= 2
  return power
}
