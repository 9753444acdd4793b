import { exitCodes } from './exit-codes.ts'

/**
 * The exit code for a connection to NATS that could not be made. The client's errors stay behind gateway/bus/bus.ts, so
 * this goes by their words.
 */
export function connectFailureCode(error: unknown): number {
  const words = error instanceof Error ? `${error.name} ${error.message}` : String(error)
  if (/authoriz|authentic/i.test(words)) return exitCodes.notAuthorised
  if (/connection|refused|timeout|ENOTFOUND|EAI_AGAIN|disconnect/i.test(words)) return exitCodes.unreachable
  return exitCodes.failed
}

/** The same in words: what happened, and what to look at. */
export function connectFailureText(error: unknown, { url, user }: { url: string; user: string }): string {
  const why = error instanceof Error ? error.message : String(error)
  const code = connectFailureCode(error)
  if (code === exitCodes.notAuthorised)
    return `${why}: NATS at ${url} does not let user ${user} in; look at nats.user, nats.password and the server's configuration`
  if (code === exitCodes.unreachable)
    return `${why}: no NATS server answers at ${url}; is it running? nats.url (--server, NATS_URL) says where it is`
  return why
}
