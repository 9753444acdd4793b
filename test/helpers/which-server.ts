/**
 * Whether this run is on that one of the suite's two servers. For what is long and the same on both: it runs on one of them,
 * and where only another server is to be had, on that.
 */
export function runsOn(server: 'debian' | 'current'): boolean {
  return process.env['SLUICE_TEST_NATS_NAME'] === server
}
