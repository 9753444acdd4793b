/**
 * The environment without what says how another server is reached, or where another gateway's settings stand: those that we
 * start are private, and talk to the server beside them whatever a shell is set up for.
 */
export function privateEnv(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^(SLUICE_)?NATS_|^SLUICE_CONFIG$/.test(name)),
  )
}
