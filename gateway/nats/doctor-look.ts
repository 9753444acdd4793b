import type { Bus } from '../bus/bus.ts'
import type { ServerFacts } from './doctor-server.ts'
import { provision, type ApiRequest } from './provision.ts'
import { gatewayConsumer, type StreamPlan } from './streams.ts'

/** What a connection with the gateway's credential sees of its server. Changes nothing. */
export async function lookAtServer(bus: Bus, plan: StreamPlan, nowMs: () => number): Promise<ServerFacts> {
  const infos = new Map<string, Record<string, unknown>>()
  let skewMs: number | undefined
  const ask: ApiRequest = async (subject, body) => {
    const beforeMs = nowMs()
    const answer = await bus.request(subject, body)
    const stream = /^\$JS\.API\.STREAM\.INFO\.(.+)$/.exec(subject)?.[1]
    if (stream !== undefined) infos.set(stream, (answer['config'] ?? {}) as Record<string, unknown>)
    skewMs ??= skewOf(answer['ts'], beforeMs, nowMs())
    return answer
  }
  // The gateway may ask about its own consumers and no others.
  const own = plan.consumers.filter(({ config }) => config.durable_name === gatewayConsumer)
  const streams = await provision(ask, { streams: plan.streams, consumers: own }, 'check')
  return { version: bus.serverVersion, streams, configs: infos, skewMs }
}

/** The server says when it answered; the middle of the way there and back is our time of it. */
function skewOf(ts: unknown, beforeMs: number, afterMs: number): number | undefined {
  const serverMs = typeof ts === 'string' ? Date.parse(ts) : NaN
  return Number.isNaN(serverMs) ? undefined : serverMs - (beforeMs + afterMs) / 2
}
