import { parseDeadlineMs } from './deadline.ts'
import { parseJson } from './json.ts'
import { quoted } from './problem.ts'
import type { ActorType } from './rule.ts'
import { nearest } from './suggest.ts'
import { topicProblem } from './topic.ts'

/** Who published: tenant and agent as the server authenticated them, never as the body claims. */
export type Identity = {
  readonly tenant: string
  readonly agent: string
  /** An agent unless the server knows better. */
  readonly actorType?: ActorType
}

/** A valid job. Whoever holds one need not check it again. */
export type Job = {
  readonly topic: string
  readonly tenant: string
  readonly agent: string
  /** Absent means agent. */
  readonly actorType?: ActorType | undefined
  readonly riskTags: readonly string[]
  readonly labels: ReadonlyMap<string, string>
  readonly capability?: string | undefined
  readonly requires?: readonly string[] | undefined
  readonly payload: unknown
  readonly deadlineMs?: number | undefined
  readonly traceId?: string | undefined
  readonly bytes: number
}

/** Why a body is not a job: becomes a recorded DENY under a rule id of our own. The reason is safe to show and to log. */
export type Refusal = {
  readonly ruleId: 'sluice.invalid-job' | 'sluice.identity-mismatch'
  readonly reason: string
  readonly traceId?: string
}

export const jobBytesMax = 262_144
export const tagsMax = 32
export const tagBytesMax = 64
export const labelsMax = 64
export const labelKeyBytesMax = 64
export const labelValueBytesMax = 256
/** Tags and labels together, as JSON: they travel in records that have a bound of their own. */
export const attributesBytesMax = 16_384
export const capabilityBytesMax = 128
const requiresMax = 32

/** `{topic?, tenant_id?, ...}`: everything a job may say at the top level. */
export const jobKeys = [
  'topic',
  'tenant_id',
  'risk_tags',
  'labels',
  'capability',
  'requires',
  'payload',
  'deadline',
  'trace_id',
] as const

const traceIdShape = /^[A-Za-z0-9_.:-]{1,128}$/

/** Carries a refusal out of the readers below; `parseJob` catches it, so nothing is thrown to the caller. */
class Refused extends Error {
  readonly ruleId: Refusal['ruleId']
  constructor(ruleId: Refusal['ruleId'], reason: string) {
    super(reason)
    this.ruleId = ruleId
  }
}

/**
 * A job from the bytes of one message. `topic` is the authenticated subject's (`job.a.b`); a topic or tenant in the body is a
 * claim that must agree with it. Never throws.
 */
export function parseJob(
  identity: Identity,
  topic: string,
  body: Uint8Array,
): { ok: true; job: Job } | { ok: false; refusal: Refusal } {
  if (body.byteLength > jobBytesMax) {
    return refuse('sluice.invalid-job', `the job is larger than ${jobBytesMax} bytes`)
  }
  const problem = topicProblem(topic)
  if (problem !== undefined) return refuse('sluice.invalid-job', problem)
  const parsed = parseJson(body)
  if (!parsed.ok)
    return refuse('sluice.invalid-job', `the job is not acceptable JSON: ${parsed.problem.message}`)
  if (!isObject(parsed.value)) return refuse('sluice.invalid-job', 'the job must be one JSON object')
  const fields = parsed.value
  try {
    return { ok: true, job: readJob(identity, topic, fields, body.byteLength) }
  } catch (caught) {
    if (!(caught instanceof Refused)) throw caught
    const traceId = fields['trace_id']
    return refuse(caught.ruleId, caught.message, isTraceId(traceId) ? traceId : undefined)
  }
}

function refuse(
  ruleId: Refusal['ruleId'],
  reason: string,
  traceId?: string,
): { ok: false; refusal: Refusal } {
  return { ok: false, refusal: traceId === undefined ? { ruleId, reason } : { ruleId, reason, traceId } }
}

function invalid(reason: string): never {
  throw new Refused('sluice.invalid-job', reason)
}

function readJob(identity: Identity, topic: string, fields: Record<string, unknown>, bytes: number): Job {
  for (const key in fields) if (!isJobKey(key)) refuseUnknownKey(key)
  checkClaims(identity, topic, fields)
  const riskTags = readTags(fields['risk_tags'])
  const labels = readLabels(fields['labels'])
  checkAttributesSize(riskTags, labels)
  const { capability, requires, deadline, trace_id: traceId } = fields
  if (capability !== undefined) checkName('capability', capability)
  if (traceId !== undefined && !isTraceId(traceId)) {
    invalid('"trace_id" must be 1 to 128 characters of A-Z, a-z, 0-9, "_", ".", ":" and "-"')
  }
  // Every job has every field, also where it is undefined: objects of one shape are what the evaluator reads quickly.
  return {
    topic,
    tenant: identity.tenant,
    agent: identity.agent,
    actorType: identity.actorType,
    riskTags,
    labels,
    capability: capability as string | undefined,
    requires: requires === undefined ? undefined : readRequires(requires),
    payload: fields['payload'],
    deadlineMs: deadline === undefined ? undefined : readDeadline(deadline),
    traceId,
    bytes,
  }
}

function refuseUnknownKey(key: string): never {
  const meant = nearest(key, jobKeys)
  invalid(`unknown key ${quoted(key)}${meant === undefined ? '' : `; did you mean "${meant}"?`}`)
}

/** What the body says about who and where must be what the server knows; a claim grants nothing. */
function checkClaims(identity: Identity, topic: string, fields: Record<string, unknown>): void {
  const { topic: claimedTopic, tenant_id: claimedTenant } = fields
  if (claimedTopic !== undefined && claimedTopic !== topic) {
    if (typeof claimedTopic !== 'string') invalid('"topic" must be a string')
    const hint = `job.${claimedTopic}` === topic ? '; write it with "job." in front' : ''
    throw new Refused(
      'sluice.identity-mismatch',
      `"topic" in the body is not the topic that was published to${hint}`,
    )
  }
  if (claimedTenant !== undefined && claimedTenant !== identity.tenant) {
    if (typeof claimedTenant !== 'string') invalid('"tenant_id" must be a string')
    throw new Refused(
      'sluice.identity-mismatch',
      '"tenant_id" in the body is not the tenant of the publisher',
    )
  }
}

const noTags: readonly string[] = []

function readTags(value: unknown): readonly string[] {
  if (value === undefined) return noTags
  if (!Array.isArray(value)) invalid('"risk_tags" must be a list of strings')
  if (value.length > tagsMax) invalid(`"risk_tags" has more than ${tagsMax} entries`)
  let isTwice = false
  for (let index = 0; index < value.length; index++) {
    const tag: unknown = value[index]
    if (typeof tag !== 'string') invalid(`"risk_tags" entry ${index + 1} must be a string`)
    if (tag === '') invalid(`"risk_tags" entry ${index + 1} is empty`)
    if (longerThan(tag, tagBytesMax))
      invalid(`"risk_tags" entry ${index + 1} is longer than ${tagBytesMax} bytes`)
    if (hasControlCharacter(tag)) invalid(`"risk_tags" entry ${index + 1} has a control character`)
    if (value.indexOf(tag) < index) isTwice = true
  }
  const tags = value as readonly string[]
  return isTwice ? [...new Set(tags)] : tags
}

function readLabels(value: unknown): ReadonlyMap<string, string> {
  const labels = new Map<string, string>()
  if (value === undefined) return labels
  if (!isObject(value)) invalid('"labels" must be an object of strings')
  for (const key in value) {
    if (key === '__proto__') invalid('the label key "__proto__" is not allowed')
    if (key === '') invalid('"labels" has an empty key')
    if (longerThan(key, labelKeyBytesMax)) invalid(`"labels" has a key longer than ${labelKeyBytesMax} bytes`)
    if (hasControlCharacter(key)) invalid(`the label key ${quoted(key)} has a control character`)
    const text = value[key]
    if (typeof text !== 'string') invalid(`the value of label ${quoted(key)} must be a string`)
    if (longerThan(text, labelValueBytesMax)) {
      invalid(`the value of label ${quoted(key)} is longer than ${labelValueBytesMax} bytes`)
    }
    labels.set(key, text)
    if (labels.size > labelsMax) invalid(`"labels" has more than ${labelsMax} entries`)
  }
  return labels
}

/** A JSON string needs at most six bytes per byte, so most jobs are known to be small enough without writing JSON. */
function checkAttributesSize(tags: readonly string[], labels: ReadonlyMap<string, string>): void {
  let units = 0
  for (const tag of tags) units += tag.length + 1
  for (const [key, text] of labels) units += key.length + text.length + 2
  if (units * 6 <= attributesBytesMax) return
  const bytes =
    Buffer.byteLength(JSON.stringify(tags)) + Buffer.byteLength(JSON.stringify([...labels].flat()))
  if (bytes > attributesBytesMax) {
    invalid(`"risk_tags" and "labels" together are larger than ${attributesBytesMax} bytes of JSON`)
  }
}

function readRequires(value: unknown): readonly string[] {
  if (!Array.isArray(value)) invalid('"requires" must be a list of strings')
  if (value.length > requiresMax) invalid(`"requires" has more than ${requiresMax} entries`)
  for (const [index, entry] of value.entries()) checkName(`requires[${index}]`, entry)
  return value as readonly string[]
}

function checkName(name: string, value: unknown): void {
  if (typeof value !== 'string' || value === '') invalid(`"${name}" must be a string that is not empty`)
  if (longerThan(value, capabilityBytesMax)) invalid(`"${name}" is longer than ${capabilityBytesMax} bytes`)
  if (hasControlCharacter(value)) invalid(`"${name}" has a control character`)
}

function readDeadline(value: unknown): number {
  const deadlineMs = typeof value === 'string' ? parseDeadlineMs(value) : undefined
  if (deadlineMs === undefined) {
    invalid('"deadline" must be an RFC 3339 time with a zone, such as 2030-01-31T12:00:00Z')
  }
  return deadlineMs
}

function isJobKey(key: string): boolean {
  return (jobKeys as readonly string[]).includes(key)
}

function isTraceId(value: unknown): value is string {
  return typeof value === 'string' && traceIdShape.test(value)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Longer in UTF-8; counted only when the number of UTF-16 units leaves it open. */
export function longerThan(text: string, bytesMax: number): boolean {
  return text.length > bytesMax || (text.length * 3 > bytesMax && Buffer.byteLength(text) > bytesMax)
}

/** The control characters of Unicode: U+0000 to U+001F and U+007F to U+009F. */
export function hasControlCharacter(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    if (unit < 0x20 || (unit >= 0x7f && unit < 0xa0)) return true
  }
  return false
}
