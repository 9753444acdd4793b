import { writeFile } from 'node:fs/promises'

import { newToken, tokenHash } from '../../gateway/http/token.ts'
import type { TokenEntry } from '../../gateway/http/tokens-file.ts'

/** A tokens file that a test hands tokens out of. */
export type TokenBook = {
  /** Enters somebody and gives the token; call `write` when all are in. */
  add(entry: Omit<TokenEntry, 'sha256'>): string
  remove(token: string): void
  write(): Promise<void>
}

export function tokenBook(file: string): TokenBook {
  const entries = new Map<string, TokenEntry>()
  return {
    add: (entry) => {
      const token = newToken()
      entries.set(token, { ...entry, sha256: tokenHash(token) })
      return token
    },
    remove: (token) => void entries.delete(token),
    // JSON is YAML.
    write: () => writeFile(file, JSON.stringify({ tokens: [...entries.values()] }), { mode: 0o600 }),
  }
}
