import { setTimeout as sleep } from 'node:timers/promises'
import type { Bus } from './bus.ts'
import type { Stored } from './message.ts'

const inFlightMax = 64
const triesMax = 4
const tryAgainMs = 50

/** The stored messages at these sequences, in their order; what is not there any more is left out. */
export async function readMany(bus: Bus, stream: string, sequences: readonly number[]): Promise<Stored[]> {
  const found: Stored[] = []
  for (let start = 0; start < sequences.length; start += inFlightMax) {
    const window = sequences.slice(start, start + inFlightMax)
    const messages = await Promise.all(window.map((sequence) => read(bus, stream, sequence)))
    for (const message of messages) if (message !== undefined) found.push(message)
  }
  return found
}

/** A replica that is a moment behind says that a message is not there; asked again it has it. */
async function read(bus: Bus, stream: string, sequence: number): Promise<Stored | undefined> {
  for (let tries = 1; ; tries++) {
    const message = await bus.get(stream, sequence)
    if (message !== undefined || tries === triesMax) return message
    await sleep(tryAgainMs)
  }
}
