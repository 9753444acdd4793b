import * as z from 'zod'
import { detectors } from './detectors.ts'
import { anyListOf, duration, listOf, someOf, whole } from './schema-parts.ts'

const absolutePath = z
  .string({ error: 'must be text' })
  .max(1_024, 'must be at most 1024 characters')
  .regex(
    /^\/(?:[^/*?\p{Cc}]+(?:\/[^/*?\p{Cc}]+)*)?$/u,
    'must be an absolute path without wildcards; it covers everything below it',
  )
  .refine(
    (path) => !path.split('/').some((part) => part === '.' || part === '..'),
    'must not contain "." or ".."',
  )

const host = z
  .string({ error: 'must be text' })
  .max(253, 'must be at most 253 characters')
  .regex(
    /^(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/,
    'must be a lower-case host name, or *. and one, without scheme, port or path',
  )

/** The limits that somebody enforces. */
export const constraints = z.strictObject(
  {
    max_runtime_sec: whole(1, 3_600).optional(),
    max_retries: whole(0, 100).optional(),
    max_concurrency: whole(1, 10_000).optional(),
    max_output_bytes: whole(1, 67_108_864).optional(),
    allow_paths: anyListOf(absolutePath, 'paths').optional(),
    deny_paths: listOf(absolutePath, 'paths').optional(),
    allow_hosts: anyListOf(host, 'host names').optional(),
    deny_hosts: listOf(host, 'host names').optional(),
  },
  { error: 'must be a map of constraints' },
)

const keyPart = z
  .string({ error: 'must be text' })
  .regex(/^(tenant|actor|topic|label:.{1,64})$/u, 'must be tenant, actor, topic, or label: and a label key')

export const throttle = z
  .strictObject(
    {
      rate: whole(1, 1_000),
      per: duration('100ms', '7d'),
      burst: whole(1, 1_000).optional(),
      key: listOf(keyPart, 'tenant, actor, topic and label:<key>')
        .max(8, 'must have at most 8 entries')
        .optional(),
      on_limit: z.enum(['wait', 'deny']).optional(),
      max_wait: duration('0s', '1h').optional(),
    },
    { error: 'must be a map with rate and per' },
  )
  .refine((limit) => limit.burst === undefined || limit.burst <= limit.rate, {
    path: ['burst'],
    message: 'must not be more than rate',
  })
  .refine((limit) => limit.on_limit !== 'deny' || limit.max_wait === undefined, {
    path: ['max_wait'],
    message: 'has no meaning with on_limit: deny, which does not wait',
  })

const detectorNames = [
  ...detectors.map((detector) => detector.id),
  ...new Set(detectors.map((detector) => detector.class)),
]
const detectorName = z.enum(detectorNames as [string, ...string[]])

/** What is done about findings beyond what the detectors do anyway; it can only become stricter. */
export const output = someOf(
  {
    quarantine: listOf(detectorName, 'detectors').optional(),
    redact: listOf(detectorName, 'detectors').optional(),
  },
  'must be a map of quarantine and redact',
)
