/** The exit codes of every command; scripts rely on them, so they are only ever added to. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  denied: 3,
  pendingApproval: 4,
  rejected: 5,
  expired: 6,
  throttled: 7,
  quarantined: 8,
  conflict: 9,
  unreachable: 69,
  notAuthorised: 77,
  badConfiguration: 78,
} as const
