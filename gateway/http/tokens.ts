import { timingSafeEqual } from 'node:crypto'
import { readFile } from 'node:fs/promises'

import type { Log } from '../log.ts'
import { isToken, tokenHash } from './token.ts'
import { expiryMs, parseTokens, type TokenEntry } from './tokens-file.ts'
import type { Topology } from '../config/topology.ts'
import { watchFiles } from '../config/watched-files.ts'
import { problemText } from '../config/yaml-file.ts'

/** What a token is good for right now. `malformed` was never one of ours, `unknown` is not in the file (any more). */
export type FoundToken =
  | { readonly type: 'known'; readonly entry: TokenEntry }
  | { readonly type: 'malformed' | 'unknown' }
  | { readonly type: 'expired'; readonly entry: TokenEntry }

/** The tokens of the file as it was last good. */
export type Tokens = {
  find(token: string, nowMs: number): FoundToken
  /** What a reader of `/readyz?verbose` should know. */
  detail(): string
  reload(): Promise<void>
  stop(): void
}

/** Thrown at start only: a gateway that cannot tell callers apart does not begin to serve them. */
export class TokensError extends Error {}

/** Reads the file and follows it: a change counts within a second, and one that does not load changes nothing. */
export async function openTokens(file: string, topology: Topology, log: Log): Promise<Tokens> {
  let byHash: ReadonlyMap<string, Known> = new Map()
  let stale = false
  const load = async (): Promise<void> => {
    const parsed = parseTokens(file, await readFile(file, 'utf8'), topology)
    if (!parsed.ok) throw new TokensError(parsed.problems.map(problemText).join('\n'))
    byHash = new Map(parsed.value.map((entry) => [entry.sha256, known(entry)]))
    stale = false
  }
  let loading: Promise<void> = Promise.resolve()
  const reload = (): Promise<void> => {
    // One after the other: the newest text must be the one that stays.
    loading = loading.then(load).then(
      () => log.info({ entries: byHash.size }, 'tokens read'),
      (err: unknown) => {
        stale = true
        log.error({ err }, 'tokens refused, the last good ones stay')
      },
    )
    return loading
  }
  // Before the first reading, so that no change falls between the two.
  const watched = await watchFiles([file], reload)
  try {
    await load()
  } catch (error) {
    watched.stop()
    throw error
  }
  return {
    find: (token, nowMs) => find(byHash, token, nowMs),
    detail: () => `${byHash.size} known${stale ? '; stale: the newest file does not load' : ''}`,
    reload,
    stop: () => watched.stop(),
  }
}

type Known = { readonly entry: TokenEntry; readonly hash: Buffer; readonly expiresMs: number }

function known(entry: TokenEntry): Known {
  const expiresMs = entry.expires === undefined ? Infinity : (expiryMs(entry.expires) ?? -Infinity)
  return { entry, hash: Buffer.from(entry.sha256, 'hex'), expiresMs }
}

function find(byHash: ReadonlyMap<string, Known>, token: string, nowMs: number): FoundToken {
  if (!isToken(token)) return { type: 'malformed' }
  const hash = tokenHash(token)
  const found = byHash.get(hash)
  // The look-up may take longer the nearer a hash is to a known one, but nobody can choose the hash of a token.
  if (found === undefined || !timingSafeEqual(found.hash, Buffer.from(hash, 'hex')))
    return { type: 'unknown' }
  return { type: nowMs >= found.expiresMs ? 'expired' : 'known', entry: found.entry }
}
