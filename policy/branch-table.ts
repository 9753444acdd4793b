/** Stands for a number that is not there. */
export const absent = -1

const golden = 0x9e3779b1
/** Of so many places in a row at least one is used, or the pairs are spread by a hash instead. */
const emptyShareMax = 4

/**
 * A map from numbers to numbers, written into a longer row of numbers beside what belongs to it, so that to look something up
 * mostly costs one line of the processor's cache. Keys that lie close together are places in a row: its length, negative, and
 * the values. Others are spread by a hash: how far it is shifted, and twice as many pairs as are needed. Written while a policy
 * is compiled and then only read; nothing that a job says is ever put in, so a job cannot make it slow.
 */
export function writeTable(row: number[], pairs: ReadonlyMap<number, number>): void {
  let length = 1
  for (const key of pairs.keys()) length = Math.max(length, key + 1)
  if (length <= pairs.size * emptyShareMax) {
    row.push(-length)
    for (let key = 0; key < length; key++) row.push(pairs.get(key) ?? absent)
  } else writeHashed(row, pairs)
}

function writeHashed(row: number[], pairs: ReadonlyMap<number, number>): void {
  // At most half full, so that a probe ends soon and always ends.
  const bits = Math.max(1, Math.ceil(Math.log2(pairs.size * 2)))
  const shift = 32 - bits
  row.push(shift)
  const begin = row.length
  for (let slot = 0; slot < 1 << bits; slot++) row.push(absent, absent)
  for (const [key, value] of pairs) {
    let slot = Math.imul(key, golden) >>> shift
    while (row[begin + slot * 2] !== absent) slot = (slot + 1) & ((1 << bits) - 1)
    row[begin + slot * 2] = key
    row[begin + slot * 2 + 1] = value
  }
}

/** The number for a key (0 or more) in the table that begins at a place, or `absent`. */
export function readTable(row: Int32Array, table: number, key: number): number {
  const shift = row[table] ?? 0
  if (shift < 0) return key < -shift ? (row[table + 1 + key] ?? absent) : absent
  const mask = 0xffffffff >>> shift
  for (let slot = Math.imul(key, golden) >>> shift; ; slot = (slot + 1) & mask) {
    const at = table + 1 + slot * 2
    const found = row[at] ?? absent
    if (found === key) return row[at + 1] ?? absent
    if (found === absent) return absent
  }
}
