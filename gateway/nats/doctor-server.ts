import { auditStream } from './streams.ts'
import type { Provisioned } from './provision.ts'
import { hasFix, refusesWhatIsTooMuch, type Version } from './server-version.ts'

/** Something that is not as it should be. The gate is not safe with a `fatal` one. */
export type Finding = {
  /** `CVE-2025-30215`, `stream-drift:AUDIT`: the same for the same thing in every run. */
  id: string
  severity: 'fatal' | 'warning' | 'note'
  what: string
  /** What to do about it. */
  todo: string
}

/** What a connection of the gateway sees of the server. */
export type ServerFacts = {
  /** `2.9.10` */
  version: string
  /** What became of each stream and consumer when it was compared with the plan. */
  streams: readonly Provisioned[]
  /** The configuration of each stream, as the server has it, by name. */
  configs: ReadonlyMap<string, Readonly<Record<string, unknown>>>
  /** The server's clock minus ours; undefined if the server does not say (before 2.10). */
  skewMs: number | undefined
}

/** What the project is tested down to, and what its authors would put into production. */
const floor: Version = [2, 9, 10]
const production: readonly Version[] = [
  [2, 11, 15],
  [2, 12, 6],
]
const skewWarningMs = 2_000
const skewFatalMs = 30_000

/** What is wrong with the server itself. `limited`: it is known that every user has an allow-list for what it publishes. */
export function serverFindings(facts: ServerFacts, limited: boolean): Finding[] {
  return [...versionFindings(facts, limited), ...streamFindings(facts), ...clockFindings(facts)]
}

function versionFindings({ version, configs }: ServerFacts, limited: boolean): Finding[] {
  const found: Finding[] = []
  if (!hasFix(version, [floor]))
    found.push({
      id: 'server-too-old',
      severity: 'fatal',
      what: `nats-server ${version} is older than ${floor.join('.')}, below which nothing is tested`,
      todo: 'run nats-server 2.11.15, 2.12.6 or newer',
    })
  if (
    !hasFix(version, [
      [2, 10, 27],
      [2, 11, 1],
    ])
  )
    found.push({
      id: 'CVE-2025-30215',
      severity: limited ? 'warning' : 'fatal',
      what: `nats-server ${version} lets whoever may publish on $JS.API.ACCOUNT.PURGE erase the streams of any account${
        limited ? '; here every user has an allow-list that stands before it' : ''
      }`,
      todo: `run 2.10.27, 2.11.1 or newer${limited ? '' : '; until then give every user an allow-list, and show it with --conf'}`,
    })
  if (!hasFix(version, production))
    found.push({
      id: 'CVE-2026-33223',
      severity: 'note',
      what: `nats-server ${version} lets the header Nats-Request-Info be forged. Sluice takes nobody's name from it, others on this server may`,
      todo: 'run 2.11.15, 2.12.6 or newer',
    })
  if (!hasFix(version, refusesWhatIsTooMuch))
    found.push({
      id: 'full-stream-forgets',
      severity: 'warning',
      what: `nats-server ${version} removes the oldest messages of a stream that is full to the byte, where it should refuse the newest. The gateways stop at 98 % of what they write themselves; JOBS_* and RESULTS_*, which agents and workers fill, may lose what waits there`,
      todo: 'run 2.10.5 or newer; until then keep sluice_stream_fullness_ratio of these streams below 0.98',
    })
  const replicated = [...configs]
    .filter(([, config]) => Number(config['num_replicas'] ?? 1) > 1)
    .map(([name]) => name)
  if (
    replicated.length > 0 &&
    !hasFix(version, [
      [2, 9, 21],
      [2, 10, 27],
    ])
  )
    found.push({
      id: 'replicated-compare-and-set',
      severity: 'fatal',
      what: `nats-server ${version} lets several win one compare-and-set on replicated streams (${replicated.join(', ')}): two decisions for one job`,
      todo: 'run 2.10.27 or newer, or limits.replicas: 1',
    })
  return found
}

/** What makes the trail a trail: without it a drift is no matter of taste. */
const vital =
  /^(deny_delete|deny_purge|discard|republish|retention|subjects|no_ack|max_age|max_msgs_per_subject) /

/** Nothing may make AUDIT forget; other streams have such a bound, and the plan may move it. */
function shortens(stream: string, difference: string): boolean {
  return stream === auditStream && difference.startsWith('max_msgs ')
}

function streamFindings({ streams, configs }: ServerFacts): Finding[] {
  const drifted = streams
    .filter(({ outcome }) => outcome === 'drifted')
    .map(({ kind, name, differences }): Finding => {
      const absent = differences[0] === 'does not exist'
      return {
        id: `${kind}-drift:${name}`,
        severity:
          absent || differences.some((one) => vital.test(one) || shortens(name, one)) ? 'fatal' : 'warning',
        what: `${kind} ${name} ${absent ? 'does not exist' : `is not as planned: ${differences.join('; ')}`}`,
        todo: 'sluice provision --check says the same to the owner of the streams; sluice provision puts it right',
      }
    })
  const loose = [...configs].flatMap(([name, config]) =>
    ['allow_rollup_hdrs', 'allow_msg_ttl'].flatMap((field): Finding[] =>
      config[field] !== true || name.startsWith('KV_')
        ? []
        : [
            {
              id: `stream-header:${name}:${field}`,
              severity: name === auditStream ? 'fatal' : 'warning',
              what: `stream ${name} has ${field}: a header of a message can remove what is stored`,
              todo: `take ${field} off the stream; what was removed is missing from the trail`,
            },
          ],
    ),
  )
  return [...drifted, ...loose]
}

function clockFindings({ skewMs }: ServerFacts): Finding[] {
  if (skewMs === undefined)
    return [
      {
        id: 'clock-unknown',
        severity: 'note',
        what: 'this server does not say what time it is (2.10 and newer do)',
        todo: 'keep the clocks of server and gateways in step (NTP): deadlines are compared with both',
      },
    ]
  if (Math.abs(skewMs) < skewWarningMs) return []
  return [
    {
      id: 'clock-skew',
      severity: Math.abs(skewMs) < skewFatalMs ? 'warning' : 'fatal',
      what: `the server's clock is ${(Math.abs(skewMs) / 1000).toFixed(1)} s ${skewMs > 0 ? 'ahead of' : 'behind'} this machine's`,
      todo: 'set both clocks (NTP): approvals and attempts would end too early or too late',
    },
  ]
}
