import { createHash, randomBytes } from 'node:crypto'

const secretBytes = 32
const checkBytes = 4

/**
 * Makes a token: `slc_`, 32 random bytes and 4 bytes of checksum, both in base64url, which a secret scanner can look for.
 * It is shown once and never kept: what is kept is its hash.
 */
export function newToken(): string {
  const secret = `slc_${randomBytes(secretBytes).toString('base64url')}`
  return secret + checksum(secret)
}

/** Whether a text is whole: a cut, a changed letter or another case shows without looking anything up. */
export function isToken(text: string): boolean {
  const [, secret = '', sum] = /^(slc_[A-Za-z0-9_-]{43})([A-Za-z0-9_-]{6})$/.exec(text) ?? []
  return sum === checksum(secret)
}

/**
 * The hash that a tokens file holds, in hexadecimal. A password needs a slow hash because people choose what can be
 * guessed; 256 random bits cannot be guessed at any speed, so one SHA-256 is enough and costs nothing at each request.
 */
export function tokenHash(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

/** Not a secret and no protection: it tells a typing mistake from a token that is not known (any more). */
function checksum(secret: string): string {
  return createHash('sha256')
    .update(`checksum of ${secret}`)
    .digest()
    .subarray(0, checkBytes)
    .toString('base64url')
}
