import { approverConsumers } from './approver-consumers.ts'
import { placedAgents, type Topology } from '../config/topology.ts'

/**
 * Every stream and consumer as data, a pure function of the topology and the limits. The field names are those of the
 * JetStream API, and only such as server 2.9 knows: newer servers refuse what they do not know.
 */
export type StreamPlan = { streams: StreamConfig[]; consumers: ConsumerPlan[] }

/** A stream as the JetStream API takes it. Durations are nanoseconds, -1 is "no limit". */
export type StreamConfig = {
  name: string
  subjects: string[]
  retention: 'limits' | 'workqueue'
  storage: 'file'
  discard: 'new' | 'old'
  num_replicas: number
  max_msgs: number
  max_bytes: number
  max_age: number
  max_msgs_per_subject: number
  max_msg_size: number
  duplicate_window: number
  no_ack?: boolean
  allow_direct?: boolean
  allow_rollup_hdrs?: boolean
  deny_delete?: boolean
  deny_purge?: boolean
  republish?: { src: string; dest: string }
}

/** A durable pull consumer and the stream it belongs to. */
export type ConsumerPlan = { stream: string; config: ConsumerConfig }

/** A consumer as the JetStream API takes it. */
export type ConsumerConfig = {
  durable_name: string
  deliver_policy: 'all'
  ack_policy: 'explicit'
  replay_policy: 'instant'
  ack_wait: number
  max_deliver: number
  max_ack_pending: number
  filter_subject?: string
  headers_only?: boolean
}

/** How much each stream may hold. A bound that is reached refuses the newest message, never drops an old one. */
export type StreamLimits = {
  /** Copies of every stream; 1 on a single server, 3 on a cluster. */
  replicas: number
  /** Per agent: jobs that wait to be decided. */
  intakeJobsMax: number
  intakeBytesMax: number
  commandsMax: number
  /** The audit trail; at 90 % the gateway stops taking jobs. */
  auditBytesMax: number
  /** Dispatched jobs of the last two hours, payloads included. */
  workBytesMax: number
  /** Jobs that wait for a person. */
  approvalsPendingMax: number
  /** Jobs that wait for room. */
  throttledMax: number
  /** Of each of the two queues of waiting jobs, payloads included. */
  waitingBytesMax: number
  /** Per pool: results that wait to be scanned. */
  resultsBytesMax: number
  outputBytesMax: number
  quarantineBytesMax: number
}

/** The durable that the gateways share on every stream they consume. */
export const gatewayConsumer = 'gw'

/** One intake per agent, so that a sibling's `Nats-Msg-Id` or flood changes nothing for the others. */
export const intakeStream = (tenant: string, agent: string): string => `JOBS_${tenant}_${agent}`
export const resultsStream = (pool: string): string => `RESULTS_${pool}`
export const httpIntakeStream = 'JOBS_HTTP'
export const commandsStream = 'COMMANDS'
export const auditStream = 'AUDIT'
export const workStream = 'WORK'
export const approvalsStream = 'APPROVALS'
export const throttledStream = 'THROTTLED'
export const outputStream = 'OUTPUT'
export const quarantineStream = 'QUARANTINE'

/** Key-value buckets; a bucket `b` is the stream `KV_b` over `$KV.b.>`. */
export const buckets = ['gov_budget', 'gov_policy', 'gov_control', 'gov_asked'] as const

const second = 1_000_000_000
const hour = 3600 * second
/** The server's floor; 0 would mean two minutes. Job ids make the gateway idempotent, the window only has to be short. */
const shortWindow = second / 10
const longWindow = 120 * second
const mebibyte = 1024 * 1024

/** Enough for a demo on a laptop; `deploy/sluice.yaml` says them again and how to choose. */
export const defaultLimits: StreamLimits = {
  replicas: 1,
  intakeJobsMax: 100_000,
  intakeBytesMax: 256 * mebibyte,
  commandsMax: 100_000,
  auditBytesMax: 2048 * mebibyte,
  workBytesMax: 1024 * mebibyte,
  approvalsPendingMax: 100_000,
  throttledMax: 100_000,
  waitingBytesMax: 1024 * mebibyte,
  resultsBytesMax: 256 * mebibyte,
  outputBytesMax: 256 * mebibyte,
  quarantineBytesMax: 256 * mebibyte,
}

/** What `sluice provision` makes true on the server. */
export function planStreams(topology: Topology, limits: StreamLimits): StreamPlan {
  const intake = placedAgents(topology).map(({ tenant, name }) => ({
    ...queue(intakeStream(tenant, name), [`job.${tenant}.${name}.>`], limits.replicas),
    max_msgs: limits.intakeJobsMax,
    max_bytes: limits.intakeBytesMax,
    // The only acknowledgement an agent gets is the gateway's answer about a stored job.
    no_ack: true,
  }))
  const results = topology.pools.map(({ name }) => ({
    ...queue(resultsStream(name), [`result.${name}.>`], limits.replicas),
    max_bytes: limits.resultsBytesMax,
    // An acknowledgement would go wherever the worker's reply subject points, for instance to a mate.
    no_ack: true,
  }))
  const streams = [
    ...intake,
    ...results,
    ...fixedStreams(limits),
    ...buckets.map((name) => ({ ...bucket(name, limits.replicas), ...bucketTerms[name] })),
  ]
  return { streams, consumers: [...gatewayConsumers(topology), ...outsideConsumers(topology)] }
}

function fixedStreams(limits: StreamLimits): StreamConfig[] {
  const { replicas } = limits
  return [
    {
      ...queue(httpIntakeStream, ['http.>'], replicas),
      max_msgs: limits.intakeJobsMax,
      max_bytes: limits.intakeBytesMax,
    },
    {
      ...queue(commandsStream, ['gov.command.>'], replicas),
      max_msgs: limits.commandsMax,
      duplicate_window: longWindow,
    },
    {
      ...kept(auditStream, ['audit.>'], replicas),
      max_bytes: limits.auditBytesMax,
      deny_delete: true,
      deny_purge: true,
    },
    {
      ...kept(workStream, ['gov.dispatch.>'], replicas),
      max_bytes: limits.workBytesMax,
      max_age: 2 * hour,
      // Workers hear only what is stored, once: the server itself publishes it there, and nobody else may.
      republish: { src: 'gov.dispatch.>', dest: 'worker.>' },
    },
    // No max_age on what waits: the server would remove it without a word.
    {
      ...latest(approvalsStream, ['approvals.pending.>'], replicas),
      max_msgs: limits.approvalsPendingMax,
      max_bytes: limits.waitingBytesMax,
    },
    {
      ...latest(throttledStream, ['gov.throttled.>'], replicas),
      max_msgs: limits.throttledMax,
      max_bytes: limits.waitingBytesMax,
    },
    {
      ...latest(outputStream, ['output.>'], replicas),
      max_bytes: limits.outputBytesMax,
      max_age: 24 * hour,
      // A copy for convenience: the newest output is worth more than yesterday's.
      discard: 'old',
    },
    {
      ...kept(quarantineStream, ['gov.quarantine.>'], replicas),
      max_bytes: limits.quarantineBytesMax,
      max_age: 720 * hour,
    },
  ]
}

/** The gateways' own consumers: causes are bounded in flight, waiting messages are all held at once. */
function gatewayConsumers(topology: Topology): ConsumerPlan[] {
  const causes = [
    ...placedAgents(topology).map(({ tenant, name }) => intakeStream(tenant, name)),
    httpIntakeStream,
    commandsStream,
    ...topology.pools.map(({ name }) => resultsStream(name)),
  ]
  return [
    ...causes.map((stream) => ({ stream, config: consumer(gatewayConsumer, { max_ack_pending: 4096 }) })),
    ...[approvalsStream, throttledStream].map((stream) => ({
      stream,
      config: consumer(gatewayConsumer, { max_ack_pending: -1 }),
    })),
    ...[workStream, quarantineStream].map((stream) => ({
      stream,
      config: consumer(gatewayConsumer, { max_ack_pending: -1, headers_only: true }),
    })),
  ]
}

/** Made ahead for pull pools and approvers, because nobody but the owner may create a consumer. */
function outsideConsumers(topology: Topology): ConsumerPlan[] {
  const pools = topology.pools.filter(({ delivery }) => delivery === 'pull')
  return [
    ...pools.map(({ name }) => ({
      stream: workStream,
      config: consumer(name, {
        filter_subject: `gov.dispatch.${name}.>`,
        // Only the gateway retries: a second delivery would be a run that is on no record.
        max_deliver: 1,
        max_ack_pending: 4096,
      }),
    })),
    ...approverConsumers(topology).map(({ name, ...filter }) => ({
      stream: approvalsStream,
      config: consumer(name, { ack_wait: 60 * second, max_ack_pending: -1, ...filter }),
    })),
  ]
}

function consumer(
  name: string,
  rest: Pick<ConsumerConfig, 'max_ack_pending'> & Partial<ConsumerConfig>,
): ConsumerConfig {
  return {
    durable_name: name,
    deliver_policy: 'all',
    ack_policy: 'explicit',
    replay_policy: 'instant',
    ack_wait: 30 * second,
    // A message past its deliveries would stay in a work queue for ever; the gateway ends what cannot end.
    max_deliver: -1,
    ...rest,
  }
}

/** Everything but the bound that makes this stream this stream. */
function kept(name: string, subjects: string[], replicas: number): StreamConfig {
  return {
    name,
    subjects,
    retention: 'limits',
    storage: 'file',
    discard: 'new',
    num_replicas: replicas,
    max_msgs: -1,
    max_bytes: -1,
    max_age: 0,
    max_msgs_per_subject: -1,
    // What is too large must be stored to be refused on the record.
    max_msg_size: -1,
    duplicate_window: longWindow,
    allow_direct: true,
  }
}

/** One message per subject, the newest: a waiting job is written again, never twice. */
function latest(name: string, subjects: string[], replicas: number): StreamConfig {
  return { ...kept(name, subjects, replicas), max_msgs_per_subject: 1 }
}

/** Causes that wait for the gateway; gone when acknowledged. */
function queue(name: string, subjects: string[], replicas: number): StreamConfig {
  return {
    ...kept(name, subjects, replicas),
    retention: 'workqueue',
    duplicate_window: shortWindow,
    allow_direct: false,
  }
}

const bucketTerms: Readonly<Record<(typeof buckets)[number], Partial<StreamConfig>>> = {
  // Longer than any window and wait: nobody is owed anything by then, and the keys, made of agents' labels, do not pile up.
  gov_budget: { max_age: 8 * 24 * hour },
  gov_policy: {},
  gov_control: {},
  // Who asked first, for a little longer than any approval lasts. Without room the oldest is forgotten: at worst a person is
  // asked twice.
  gov_asked: { max_age: 31 * 24 * hour, discard: 'old' },
}

function bucket(name: string, replicas: number): StreamConfig {
  return {
    ...latest(`KV_${name}`, [`$KV.${name}.>`], replicas),
    max_bytes: 64 * mebibyte,
    // What the key-value clients of NATS expect of a bucket.
    allow_rollup_hdrs: true,
    deny_delete: true,
  }
}
