import { pino, type DestinationStream, type Logger } from 'pino'
import type { Config } from './config/config.ts'

/** Where events with fields go: `log.info({ jobId, rule }, 'job denied')`. Ids only, never payloads, outputs or notes. */
export type Log = Logger

/** Nobody should log these; if somebody does, the value does not reach the disk. */
const neverLogged = [
  'authorization',
  'body',
  'credential',
  'key',
  'nkeySeed',
  'note',
  'output',
  'password',
  'payload',
  'secret',
  'seed',
  'token',
]

/** One JSON line per event on stdout, or in `destination`. `name` is the gateway's, so that lines of several can be told apart. */
export function createLog(level: Config['logLevel'], name: string, destination?: DestinationStream): Log {
  const options = {
    level,
    name,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: errorOnRecord },
    redact: { paths: [...neverLogged, ...neverLogged.map((path) => `*.${path}`)], censor: '[withheld]' },
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}

const messageCharsMax = 500

/**
 * What a log may say about an error. Parsers quote what they could not read, and here that is somebody's payload, so a
 * syntax error keeps its place in the code and loses its words; so does the first line of its stack.
 */
function errorOnRecord(error: unknown): object {
  if (!(error instanceof Error)) return { type: typeof error }
  const code = 'code' in error ? error.code : undefined
  return {
    type: error.name,
    message: error instanceof SyntaxError ? 'not valid' : error.message.slice(0, messageCharsMax),
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    stack: (error.stack ?? '').split('\n').filter((line) => line.startsWith('    at ')),
  }
}
