import type { JobId } from '../policy/job-id.ts'
import type { Delivery } from './bus/delivery.ts'
import { decodeCommand } from './command.ts'
import type { Io } from './io.ts'
import type { Refusals } from './refusals.ts'
import { carryOutCommand, commandCause } from './resolve.ts'
import { carryOn } from './step.ts'

const commandTriesMax = 20
/** Longer than a record that lets a job go on may take to leave (see `mayLeaveBy`). */
const commandSettledMs = 3_000

/** The stored command of somebody whose gateway may have died; usually it finds its own record and is done. */
export async function carryOutStored(io: Io, refusals: Refusals, delivery: Delivery): Promise<void> {
  const wish = decodeCommand(delivery.body)
  const done = await carryOutCommand(io, refusals, wish, commandCause(delivery.sequence, wish))
  const refused = done.type === 'refused'
  if (refused && done.code === 'unavailable' && delivery.deliveries < commandTriesMax)
    throw new Error('the parked copy is not there yet')
  if (refused && done.state === 'PARKED') lookAgain(io, wish.job)
  delivery.ack()
}

/**
 * Refused here, but the gateway that was asked may have looked a moment earlier, write the opposite, and die before it acts on
 * it, when nobody has the command any more. So it is looked at once more. The command itself must not come again: who was
 * told no would be carried out when nothing stands against it any more. If this gateway dies as well, the waiting copy
 * is looked at when the next one starts, and when it is due.
 */
function lookAgain(io: Io, job: JobId): void {
  const look = async (): Promise<void> => {
    const last = await io.chain.last(job)
    if (last !== undefined) await carryOn(io, last)
  }
  const failed = (err: unknown): void =>
    io.log.warn({ jobId: job, err }, 'a job could not be looked at once more')
  setTimeout(() => void look().catch(failed), commandSettledMs).unref()
}
