import { readArguments } from '../arguments.ts'

export type DevOptions = {
  json: boolean
  /** Undefined: the demo policy. */
  policy: string | undefined
  /** Undefined: `.sluice/dev`, or the next one that is free. */
  dataDir: string | undefined
  /** Undefined: 8081 unless taken. */
  httpPort: number | undefined
  /** Undefined: the port of the last start if it is free, else any. */
  natsPort: number | undefined
  gateways: number
  demo: boolean
}

export type ReadOptions =
  | { type: 'options'; options: DevOptions }
  | { type: 'help' }
  | { type: 'usage'; problem: string }

const gatewaysMax = 16

/** Reads the command line of `sluice dev`; `--data-dir` may also come as `SLUICE_DATA_DIR`. */
export function readDevOptions(args: readonly string[], env: NodeJS.ProcessEnv): ReadOptions {
  const read = readArguments(args, {
    json: 'flag',
    policy: 'text',
    'data-dir': 'text',
    'http-port': 'text',
    'nats-port': 'text',
    gateways: 'text',
    'no-demo': 'flag',
    help: 'flag',
  })
  if (!read.ok) return { type: 'usage', problem: read.problem }
  if (read.flags.has('help')) return { type: 'help' }
  if (read.rest.length > 0)
    return { type: 'usage', problem: `what is '${read.rest[0]}'? sluice dev takes options only` }
  const httpPort = numberIn(read.text['http-port'], 0, 65_535)
  const natsPort = numberIn(read.text['nats-port'], 0, 65_535)
  const gateways = numberIn(read.text['gateways'] ?? '1', 1, gatewaysMax)
  if (httpPort === 'wrong' || natsPort === 'wrong')
    return { type: 'usage', problem: 'a port is a number from 1 to 65535, or 0 for any that is free' }
  if (gateways === 'wrong')
    return { type: 'usage', problem: `--gateways is a number from 1 to ${gatewaysMax}` }
  return {
    type: 'options',
    options: {
      json: read.flags.has('json'),
      policy: read.text['policy'],
      dataDir: read.text['data-dir'] ?? (env['SLUICE_DATA_DIR'] || undefined),
      httpPort,
      natsPort,
      gateways: gateways ?? 1,
      demo: !read.flags.has('no-demo'),
    },
  }
}

function numberIn(text: string | undefined, least: number, most: number): number | undefined | 'wrong' {
  if (text === undefined) return undefined
  const number = Number(text)
  return /^\d+$/.test(text) && number >= least && number <= most ? number : 'wrong'
}
