import type { Keyring } from './config/keyring.ts'
import type { ReadyCheck } from './http/route.ts'
import type { Io } from './io.ts'
import type { Finding } from './nats/doctor-server.ts'
import type { Watch } from './watch.ts'

/** Ready is only who is up; whoever drains finishes what it has begun. */
export type Phase = 'starting' | 'up' | 'draining'

/** What `/readyz` goes by, and `/readyz?verbose` shows, apart from what HTTP knows of itself. */
export function readiness(
  io: Io,
  watch: Watch,
  keyring: Keyring,
  phase: Phase,
  accepted: readonly Finding[],
): readonly ReadyCheck[] {
  const shadow = io.shadow.detail()
  return [
    {
      name: 'nats',
      ok: io.bus.connected(),
      detail: io.bus.connected() ? io.bus.serverVersion : 'not connected',
    },
    { name: 'policy', ok: true, detail: io.policies.detail() },
    ...(shadow === '' ? [] : [{ name: 'policy_shadow', ok: true, detail: shadow }]),
    { name: 'keys', ok: true, detail: keyring.problem() ?? 'as in the key file' },
    { name: 'fail_mode', ok: true, detail: io.config.failMode },
    { name: 'decision_timeout', ok: true, detail: `${io.config.decisionTimeoutMs} ms` },
    {
      name: 'audit',
      ok: watch.intakeOpen(),
      detail: watch.intakeOpen()
        ? watch.auditWarning()
          ? 'more than 80 % full'
          : 'ok'
        : 'more than 90 % full',
    },
    { name: 'phase', ok: phase === 'up', detail: phase },
    acceptedCheck(accepted),
  ]
}

function acceptedCheck(accepted: readonly Finding[]): ReadyCheck {
  const detail =
    accepted.length === 0 ? 'none' : `accepted in writing: ${accepted.map(({ id }) => id).join(', ')}`
  return { name: 'fatal_findings', ok: true, detail }
}
