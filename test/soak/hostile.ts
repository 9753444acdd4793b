import type { Chance } from '../crash/chance.ts'

/** What somebody sends who wants to see the gate stumble; all of it from one seed. */
export type Hostile = {
  bytes(): Uint8Array
  json(): string
  job(): string | Uint8Array
  /** Tokens that a subject may have: no space, no line break, nothing empty. */
  topic(): string
  name(): string
  headers(): readonly (readonly [string, string])[]
  pick<T>(of: readonly T[]): T
  often(share: number): boolean
}

const topics = ['free.a', 'free.b', 'ask.a', 'slow.a', 'exec.a', 'no.rule', 'free.a.b.c'] as const
const fields = [
  'topic',
  'tenant_id',
  'risk_tags',
  'labels',
  'capability',
  'requires',
  'payload',
  'deadline',
] as const
const oddKeys = ['__proto__', 'constructor', 'toString', '', 'ünï', 'a.b', ' ', 'risk_tag'] as const
const headerNames = [
  ...['Nats-Msg-Id', 'Nats-Rollup', 'Nats-TTL', 'Nats-Expected-Stream', 'Nats-Expected-Last-Sequence'],
  ...['Nats-Request-Info', 'Sluice-Job', 'Sluice-Ticket', 'Sluice-Decision', 'Sluice-Result-Token'],
  ...['Sluice-Attempt', 'Sluice-Status', 'Sluice-Message-Id', 'traceparent', 'X-Anything'],
] as const
const jobBytesMax = 300_000

export function hostile(luck: Chance): Hostile {
  const pick = <T>(of: readonly T[]): T => of[luck.between(0, of.length - 1)] as T
  const often = (share: number): boolean => luck.next() < share
  const text = (most: number): string =>
    String.fromCharCode(...Array.from({ length: luck.between(0, most) }, () => luck.between(0, 0xffff)))
  const name = (): string =>
    Array.from({ length: luck.between(1, 24) }, () => pick('abcdefghij0123456789-_'.split(''))).join('')
  const bytes = (): Uint8Array =>
    Uint8Array.from({ length: luck.between(0, often(0.02) ? jobBytesMax : 400) }, () => luck.between(0, 255))
  const value = (depth: number): unknown => {
    switch (luck.between(0, depth > 4 ? 5 : 7)) {
      case 0:
        return null
      case 1:
        return often(0.5)
      case 2:
        return pick([0, -1, 1.5, 1e308, 2 ** 53 + 2, -0, 45])
      case 3:
        return text(20)
      case 4:
        return name()
      case 5:
        return pick(['2020-01-01T00:00:00Z', 'job.free.a', 'default', 'demo', '\ud800', '\u0000', '${x}'])
      case 6:
        return Array.from({ length: luck.between(0, 40) }, () => value(depth + 1))
      default:
        return Object.fromEntries(
          Array.from({ length: luck.between(0, 6) }, () => [
            often(0.4) ? pick(oddKeys) : pick(fields),
            value(depth + 1),
          ]),
        )
    }
  }
  const json = (): string => {
    if (often(0.02)) return '['.repeat(luck.between(1, 50_000))
    if (often(0.05)) return `{"${pick(fields)}":1,"${pick(fields)}":${JSON.stringify(value(3))}}`
    return JSON.stringify(value(0)) ?? ''
  }
  const goodJob = (): string =>
    JSON.stringify({
      payload: { work: pick(['ok', 'ok', 'error', 'silent', 'card', 'huge', 'forge']) },
      ...(often(0.3) && { risk_tags: [pick(['prod', 'low', name()])] }),
      ...(often(0.2) && { labels: { [name()]: name() } }),
      ...(often(0.1) && { [pick(fields)]: value(2) }),
    })
  const job = (): string | Uint8Array => {
    if (often(0.6)) return goodJob()
    if (often(0.3)) return goodJob().slice(0, luck.between(0, 60))
    return often(0.7) ? json() : bytes()
  }
  const topic = (): string => {
    if (often(0.8)) return pick(topics)
    const tokens = Array.from({ length: luck.between(1, often(0.1) ? 60 : 5) }, () =>
      often(0.1) ? pick(['é', '%', '$JS', '_INBOX', 'a'.repeat(90)]) : name(),
    )
    return tokens.join('.')
  }
  const headers = (): readonly (readonly [string, string])[] =>
    often(0.6)
      ? []
      : Array.from({ length: luck.between(1, 4) }, () => [
          pick(headerNames),
          often(0.05)
            ? 'x'.repeat(luck.between(1, 4_000))
            : pick(['', '0', 'all', '1s', name(), '00-0-0-00']),
        ])
  return { bytes, json, job, topic, name, headers, pick, often }
}
