export type Version = readonly [major: number, minor: number, patch: number]

/** Whether a version has what was fixed in these: in its own minor line, or because it is newer than all of them. */
export function hasFix(version: string, fixes: readonly Version[]): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(/[.-]/).map(Number)
  const own = fixes.find(([fixedMajor, fixedMinor]) => fixedMajor === major && fixedMinor === minor)
  if (own !== undefined) return patch >= own[2]
  return fixes.every(
    ([fixedMajor, fixedMinor]) => major > fixedMajor || (major === fixedMajor && minor > fixedMinor),
  )
}

/** Refuses in every case what a stream with `discard: new` has no room for (nats-server #4771). */
export const refusesWhatIsTooMuch: readonly Version[] = [[2, 10, 5]]

/** Writes a removal from the middle of a stream when it is made, and not with its next index. */
export const remembersRemovals: readonly Version[] = [[2, 10, 0]]
