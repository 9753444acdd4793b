/**
 * What must have left the process by a certain time, or must not be sent at all. A client library collects what is published
 * and sends it a moment later; a process that is stopped in that moment (SIGSTOP, a suspended machine) would send it
 * minutes later, when it may be forbidden. So the last look at the clock is right before the bytes go to the operating
 * system, and what is too late by then is lost together with its connection: the outcome is unknown, the causes come again.
 */
export type Leaving = {
  /** Whether there is time left; if so, what is published next must leave by then (`performance.now()`). */
  inTime(leaveByMs: number | undefined): boolean
}

/** The inside of the client library that sends; not part of its API, so its shape is checked once. */
type Protocol = { flushPending(): void; resetOutbound(): void }

/** `reconnect` gives up the connection and, with it, what was not sent. */
export function watchLeaving(connection: object, reconnect: () => void): Leaving {
  const { protocol } = connection as { readonly protocol?: Partial<Protocol> }
  const flush = protocol?.flushPending
  const reset = protocol?.resetOutbound
  if (protocol === undefined || typeof flush !== 'function' || typeof reset !== 'function')
    throw new Error(
      'this version of the NATS client sends in another way: gateway/leaving.ts must be adapted',
    )
  let earliestMs = Infinity
  let givenUp = false
  protocol.flushPending = () => {
    // Until the client has another connection, and thereby an empty buffer, nothing leaves.
    if (givenUp) return
    if (earliestMs < performance.now()) {
      givenUp = true
      return reconnect()
    }
    flush.call(protocol)
    // What it does not send while it is disconnected it throws away: see below.
    earliestMs = Infinity
  }
  protocol.resetOutbound = () => {
    givenUp = false
    earliestMs = Infinity
    reset.call(protocol)
  }
  return {
    inTime: (leaveByMs) => {
      if (leaveByMs === undefined) return true
      if (leaveByMs < performance.now()) return false
      earliestMs = Math.min(earliestMs, leaveByMs)
      return true
    },
  }
}
