import type { ApiRequest } from '../../gateway/nats/provision.ts'
import type { ConsumerConfig } from '../../gateway/nats/streams.ts'

/** What a killed gateway held comes back after `ack_wait`: 30 s in earnest, shorter where a test waits for it. */
export async function shortenAckWait(api: ApiRequest, ackWaitSec: number): Promise<void> {
  for (const stream of await streamNames(api)) {
    const { consumers } = (await api(`$JS.API.CONSUMER.LIST.${stream}`)) as {
      consumers: { config: ConsumerConfig }[]
    }
    for (const { config } of consumers) {
      if (config.durable_name !== 'gw' && config.durable_name !== 'approvers') continue
      const changed = { ...config, ack_wait: ackWaitSec * 1_000_000_000 }
      await api(`$JS.API.CONSUMER.DURABLE.CREATE.${stream}.${config.durable_name}`, {
        stream_name: stream,
        config: changed,
      })
    }
  }
}

/** Where nothing stands any more when all jobs have ended. */
export const allQueues = /^(JOBS_|RESULTS_|COMMANDS$|APPROVALS$|THROTTLED$)/
/**
 * Those of them that are soon empty also when a server 2.9 was killed. It forgets which messages of a work queue were removed,
 * and remembers that they were acknowledged: they stand in the stream, nobody gets them, and they are looked through while
 * the queue has nothing else to do.
 */
export const waitingQueues = /^(APPROVALS|THROTTLED)$/

/** What still stands in a queue, by stream: how much, and the first few subjects. Nothing, when all jobs have ended. */
export async function leftOver(api: ApiRequest, queues = allQueues): Promise<Record<string, string[]>> {
  const left: Record<string, string[]> = {}
  for (const stream of await streamNames(api)) {
    if (!queues.test(stream)) continue
    const info = await api(`$JS.API.STREAM.INFO.${stream}`, { subjects_filter: '>' })
    const { messages, subjects } = info['state'] as { messages: number; subjects?: Record<string, number> }
    if (messages > 0)
      left[stream] = [
        `${messages} messages`,
        ...Object.keys(subjects ?? {})
          .toSorted()
          .slice(0, 5),
      ]
  }
  return left
}

async function streamNames(api: ApiRequest): Promise<string[]> {
  return ((await api('$JS.API.STREAM.NAMES')) as { streams: string[] }).streams
}
