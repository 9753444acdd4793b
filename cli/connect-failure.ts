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
