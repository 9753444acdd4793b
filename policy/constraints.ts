/** All attempts of a job together may take an hour at most, because its payload is kept no longer than that can need. */
export const attemptsTotalSecMax = 3_600

/** What an allowed job must keep to. A limit that is absent is not set by policy; lists hold absolute paths and host names. */
export type Constraints = {
  readonly max_runtime_sec?: number
  readonly max_retries?: number
  readonly max_concurrency?: number
  readonly max_output_bytes?: number
  readonly allow_paths?: readonly string[]
  readonly deny_paths?: readonly string[]
  readonly allow_hosts?: readonly string[]
  readonly deny_hosts?: readonly string[]
}

/**
 * The set that satisfies both: the least of each limit, only what both allow, everything that either denies. The result does
 * not depend on the order of the arguments, and null (no constraints) changes nothing.
 */
export function meetConstraints(a: Constraints | null, b: Constraints | null): Constraints | null {
  if (a === null) return b
  if (b === null) return a
  return withoutAbsent({
    max_runtime_sec: least(a.max_runtime_sec, b.max_runtime_sec),
    max_retries: least(a.max_retries, b.max_retries),
    max_concurrency: least(a.max_concurrency, b.max_concurrency),
    max_output_bytes: least(a.max_output_bytes, b.max_output_bytes),
    allow_paths: allowedByBoth(a.allow_paths, b.allow_paths, pathCovers),
    deny_paths: deniedByEither(a.deny_paths, b.deny_paths),
    allow_hosts: allowedByBoth(a.allow_hosts, b.allow_hosts, hostCovers),
    deny_hosts: deniedByEither(a.deny_hosts, b.deny_hosts),
  })
}

/** Paths and hosts can only be kept by the worker itself, which must then echo the hash of the set it obeyed. */
export function needsWorker(constraints: Constraints | null): boolean {
  if (constraints === null) return false
  const { allow_paths, deny_paths, allow_hosts, deny_hosts } = constraints
  return [allow_paths, deny_paths, allow_hosts, deny_hosts].some((list) => list !== undefined)
}

/** The same set with its lists sorted, without repetition and without entries that another entry already covers. */
export function normalConstraints(constraints: Constraints): Constraints {
  return withoutAbsent({
    ...constraints,
    allow_paths: allowedByBoth(constraints.allow_paths, undefined, pathCovers),
    deny_paths: deniedByEither(constraints.deny_paths, undefined),
    allow_hosts: allowedByBoth(constraints.allow_hosts, undefined, hostCovers),
    deny_hosts: deniedByEither(constraints.deny_hosts, undefined),
  })
}

type Covers = (wide: string, narrow: string) => boolean

/** A path stands for itself and everything below it. */
function pathCovers(wide: string, narrow: string): boolean {
  return wide === narrow || narrow.startsWith(wide.endsWith('/') ? wide : `${wide}/`)
}

/** `*.example.org` stands for every name below example.org, but not for example.org; any other name only for itself. */
function hostCovers(wide: string, narrow: string): boolean {
  return (
    wide === narrow ||
    (wide.startsWith('*.') && narrow.replace(/^\*/, '').endsWith(wide.slice(1)) && narrow !== wide)
  )
}

function least(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined) return b
  return b === undefined ? a : Math.min(a, b)
}

/**
 * What both lists allow. Entries are either disjoint or one covers the other, so what is covered by the other side is exactly
 * the intersection; dropping covered entries gives one spelling per meaning, whatever order the lists came in.
 */
function allowedByBoth(
  a: readonly string[] | undefined,
  b: readonly string[] | undefined,
  covers: Covers,
): readonly string[] | undefined {
  if (a === undefined && b === undefined) return undefined
  const first = a ?? b ?? []
  const second = b ?? a ?? []
  const within = (list: readonly string[], other: readonly string[]) =>
    list.filter((entry) => other.some((wide) => covers(wide, entry)))
  const both = [...new Set([...within(first, second), ...within(second, first)])]
  return both.filter((entry) => !both.some((wide) => wide !== entry && covers(wide, entry))).toSorted()
}

function deniedByEither(
  a: readonly string[] | undefined,
  b: readonly string[] | undefined,
): readonly string[] | undefined {
  if (a === undefined && b === undefined) return undefined
  return [...new Set([...(a ?? []), ...(b ?? [])])].toSorted()
}

function withoutAbsent(constraints: { [K in keyof Constraints]: Constraints[K] | undefined }): Constraints {
  return Object.fromEntries(
    Object.entries(constraints).filter(([, value]) => value !== undefined),
  ) as Constraints
}
