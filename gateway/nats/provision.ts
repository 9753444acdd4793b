import { type ConsumerConfig, type ConsumerPlan, type StreamConfig, type StreamPlan } from './streams.ts'

/** One JetStream API call; throws with the server's words and its error code as `code` when the server says no. */
export type ApiRequest = (subject: string, body?: unknown) => Promise<Record<string, unknown>>

/**
 * What became of one stream or consumer. `drifted` differs from the plan and was left alone: because the caller only
 * asked, because the server cannot change it in place, or because the change would delete what is stored.
 */
export type Provisioned = {
  kind: 'stream' | 'consumer'
  /** `AUDIT`, or `WORK/gw` for a consumer. */
  name: string
  outcome: 'created' | 'unchanged' | 'updated' | 'drifted'
  /** What differs, one sentence a field; empty when nothing does. */
  differences: string[]
}

/** `apply` makes the plan true; `check` only looks. */
export type ProvisionMode = 'apply' | 'check'

const streamNotFound = 10059
const consumerNotFound = 10014

/**
 * Makes the streams and consumers of the plan exist as planned, any number of times. Never deletes a stream, and never
 * lowers a bound below what a stream holds: the server would delete the surplus, of AUDIT too, whatever it may deny.
 */
export async function provision(
  request: ApiRequest,
  plan: StreamPlan,
  mode: ProvisionMode,
): Promise<Provisioned[]> {
  const done: Provisioned[] = []
  for (const config of plan.streams) done.push(await provisionStream(request, config, mode))
  const missing = new Set(
    done
      .filter(({ outcome, differences }) => outcome === 'drifted' && differences[0] === absent)
      .map(({ name }) => name),
  )
  for (const consumer of plan.consumers) {
    if (missing.has(consumer.stream))
      done.push({ kind: 'consumer', name: consumerName(consumer), outcome: 'drifted', differences: [absent] })
    else done.push(await provisionConsumer(request, consumer, mode))
  }
  return done
}

const absent = 'does not exist'

async function provisionStream(
  request: ApiRequest,
  config: StreamConfig,
  mode: ProvisionMode,
): Promise<Provisioned> {
  const report = (outcome: Provisioned['outcome'], differences: string[] = []): Provisioned => ({
    kind: 'stream',
    name: config.name,
    outcome,
    differences,
  })
  const found = await existing(request(`$JS.API.STREAM.INFO.${config.name}`), streamNotFound)
  if (found === undefined) {
    if (mode === 'check') return report('drifted', [absent])
    await request(`$JS.API.STREAM.CREATE.${config.name}`, config)
    return report('created')
  }
  const differences = differencesOf(config, found['config'])
  if (differences.length === 0) return report('unchanged')
  const lossy = losses(config, found['state'])
  if (mode === 'check' || lossy.length > 0) return report('drifted', [...differences, ...lossy])
  const refusal = await refused(request(`$JS.API.STREAM.UPDATE.${config.name}`, config))
  return refusal === undefined ? report('updated', differences) : report('drifted', [...differences, refusal])
}

async function provisionConsumer(
  request: ApiRequest,
  plan: ConsumerPlan,
  mode: ProvisionMode,
): Promise<Provisioned> {
  const { stream, config } = plan
  const report = (outcome: Provisioned['outcome'], differences: string[] = []): Provisioned => ({
    kind: 'consumer',
    name: consumerName(plan),
    outcome,
    differences,
  })
  // Create and update are one call in the API of consumers.
  const put = (): Promise<unknown> =>
    request(`$JS.API.CONSUMER.DURABLE.CREATE.${stream}.${config.durable_name}`, {
      stream_name: stream,
      config,
    })
  const found = await existing(
    request(`$JS.API.CONSUMER.INFO.${stream}.${config.durable_name}`),
    consumerNotFound,
  )
  if (found === undefined) {
    if (mode === 'check') return report('drifted', [absent])
    await put()
    return report('created')
  }
  const differences = differencesOf(config, found['config'])
  if (differences.length === 0) return report('unchanged')
  if (mode === 'check') return report('drifted', differences)
  const refusal = await refused(put())
  return refusal === undefined ? report('updated', differences) : report('drifted', [...differences, refusal])
}

function consumerName({ stream, config }: ConsumerPlan): string {
  return `${stream}/${config.durable_name}`
}

/** Only the fields we ask for are compared: each server version adds fields and defaults of its own. */
function differencesOf(wanted: StreamConfig | ConsumerConfig, found: unknown): string[] {
  const actual = (found ?? {}) as Record<string, unknown>
  return Object.entries(wanted).flatMap(([field, value]) => {
    // The server leaves out what is false.
    const present = actual[field] ?? (typeof value === 'boolean' ? false : undefined)
    const same = JSON.stringify(present) === JSON.stringify(value)
    return same ? [] : [`${field} is ${JSON.stringify(present)}, planned is ${JSON.stringify(value)}`]
  })
}

/** Bounds that the stream already exceeds. */
function losses(config: StreamConfig, found: unknown): string[] {
  const state = (found ?? {}) as { messages?: number; bytes?: number }
  const over = (bound: number, held: number, what: string): string[] =>
    bound >= 0 && held > bound
      ? [`not changed: it holds ${held} ${what}, the plan would delete down to ${bound}`]
      : []
  return [
    ...over(config.max_msgs, state.messages ?? 0, 'messages'),
    ...over(config.max_bytes, state.bytes ?? 0, 'bytes'),
  ]
}

async function existing(
  answer: Promise<Record<string, unknown>>,
  notFound: number,
): Promise<Record<string, unknown> | undefined> {
  try {
    return await answer
  } catch (error) {
    if (codeOf(error) === notFound) return undefined
    throw error
  }
}

/** The server's words if it refused the change; anything but its refusal (a lost connection, say) is thrown on. */
async function refused(answer: Promise<unknown>): Promise<string | undefined> {
  try {
    await answer
    return undefined
  } catch (error) {
    if (codeOf(error) < serverCodesFrom || !(error instanceof Error)) throw error
    return `not changed: ${error.message}`
  }
}

const serverCodesFrom = 10_000

function codeOf(error: unknown): number {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'number' ? code : 0
}
