import { setTimeout as sleep } from 'node:timers/promises'

const lookEveryMs = 200

/** Waits until it is so, or until the time is over: then the count that follows says what is missing, not a time limit. */
export async function within(limitMs: number, done: () => boolean | Promise<boolean>): Promise<void> {
  const untilMs = performance.now() + limitMs
  while (performance.now() < untilMs && !(await done())) await sleep(lookEveryMs)
}

/** Clients that outlive whatever is killed around them. */
export const reconnecting = { reconnectTimeWait: 100, maxReconnectAttempts: -1 } as const
