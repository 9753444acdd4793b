import type { RecordData } from '../../audit/record.ts'

/** Whose jobs exist for somebody. */
export type Tenants = 'all' | readonly string[]

/** Those that wait come first, oldest first; resolved ones, if asked for, after them, newest first. */
export type ApprovalsAsked = {
  readonly includeResolved: boolean
  readonly limit: number
  readonly cursor?: Cursor | undefined
  /** Whose jobs; those of others do not exist for who asks. */
  readonly tenants: Tenants
  /** Of what waits only what this is true of; an end-of-page may come early for it. */
  readonly wanted?: ((data: RecordData) => boolean) | undefined
}

/** Where the next page begins: at a sequence of APPROVALS, or at a place in the index. */
export type Cursor = { readonly part: 'pending' | 'resolved'; readonly at: number }

/** `p12` or `r34`; undefined for anything else. */
export function parseCursor(text: string): Cursor | undefined {
  const [, part, digits] = /^([pr])(\d{1,15})$/.exec(text) ?? []
  return part === undefined ? undefined : { part: part === 'p' ? 'pending' : 'resolved', at: Number(digits) }
}
