import type { Answer } from '../audit/answer.ts'
import type { JobId } from '../policy/job-id.ts'
import type { Bus } from './bus/bus.ts'
import type { Headers, Heard } from './bus/message.ts'
import { decisionSubject } from './subjects.ts'

/** `decision.>` as a gateway speaks and hears it: what every gateway says, its own words included, once for all who listen here. */
export type Decisions = {
  say(agent: string, job: JobId, answer: Answer, headers: Headers): void
  hear(handle: (said: Heard) => void): void
}

export function createDecisions(bus: Bus): Decisions {
  const handlers: ((said: Heard) => void)[] = []
  return {
    // Own words come back from the server like anybody's: heard at once, they would overtake the question they answer.
    say: (agent, job, answer, headers) =>
      bus.publish(decisionSubject(agent, job), JSON.stringify(answer), headers),
    hear: (handle) => {
      handlers.push(handle)
      if (handlers.length > 1) return
      bus.subscribe('decision.>', undefined, (message) => {
        for (const one of handlers) one(message)
      })
    },
  }
}
