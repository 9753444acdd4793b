import { setTimeout as sleep } from 'node:timers/promises'

/** A process as it runs now. */
export type Running = { pid: number; exited: Promise<number>; stop(): Promise<void> }

/** A process that is started again whenever it ends, until `stop`. */
export type Kept = { pid(): number; stop(): Promise<void> }

const restartAfterMs = 100
/** Between tries that fail, so that a broken program does not eat the machine. */
const retryAfterMs = 500

/**
 * Keeps what was started running. `restarted` hears of each new process; `say` of each end.
 */
export function keepRunning(
  name: string,
  first: Running,
  start: () => Promise<Running>,
  hear: { say: (line: string) => void; restarted: () => void },
): Kept {
  let current = first
  let stopping = false
  const loop = async (): Promise<void> => {
    for (;;) {
      const code = await current.exited
      if (stopping) return
      hear.say(`${name} ended with ${code}, starting it again`)
      await sleep(restartAfterMs)
      while (!stopping) {
        try {
          current = await start()
          break
        } catch (error) {
          hear.say(`${name} did not start: ${error instanceof Error ? error.message : String(error)}`)
          await sleep(retryAfterMs)
        }
      }
      if (!stopping) hear.restarted()
      else await current.stop()
    }
  }
  const looped = loop()
  return {
    pid: () => current.pid,
    stop: async () => {
      stopping = true
      await current.stop()
      await looped
    },
  }
}
