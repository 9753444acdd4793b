import { readFile } from 'node:fs/promises'

const ticksPerSec = 100

/** User and system time of a process so far; NaN where there is no /proc. */
export async function cpuUs(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (text === undefined) return NaN
  // The second field is the command in brackets and may hold anything; the two times are the 14th and the 15th.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return ((Number(fields[11]) + Number(fields[12])) / ticksPerSec) * 1_000_000
}
