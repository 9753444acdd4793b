import type { ApprovalItem } from '../gateway/queries/approval-item.ts'
import { claimText } from './approval-text.ts'
import { durationText } from './duration-text.ts'
import { limitsText, stateText } from './job-text.ts'
import { foldedText, hostileText, payloadText } from './payload-text.ts'
import type { Terminal } from './terminal.ts'
import { visible } from './visible.ts'
import { wrapText } from './wrap-text.ts'

/** Under these names agents say why they want something; it is their word and never the effect. */
const claimKeys = ['reason', 'justification', 'rationale', 'explanation']
const nameColumns = 14
const claimCharactersMax = 600

type Fact = readonly [name: string, value: string | undefined]

/**
 * One approval for somebody who has ten seconds: first what would really happen, then how far it reaches, who asks, why it is
 * asked, the limits, who has decided and what is still needed, the clock and what happens if nobody does anything. What the
 * agent says for itself comes last and is called that.
 */
export function cardText(item: ApprovalItem, terminal: Terminal): string[] {
  const { job } = item
  const width = terminal.columns - nameColumns - 1
  const claims = claimsOf(item)
  const payload = payloadText(
    job.payload,
    width - 8,
    claims.map(({ key }) => key).filter((key) => key !== ''),
  )
  const line = (name: string, text: string): string => `${name.padEnd(nameColumns)} ${text}`.trimEnd()
  const lines = ([name, value]: Fact): string[] =>
    value === undefined || value === ''
      ? []
      : wrapText(hostileText(value), width).map((text, index) => line(index === 0 ? name : '', text))
  return [
    `${item.job_id}  ${stateText(item.state, terminal)}${item.level === 'normal' ? '' : `  ${item.level}`}`,
    ...(item.resolved_at === undefined
      ? lines(['what runs', job.topic])
      : lines(['what was asked', job.topic])),
    ...(job.payload === null && item.resolved_at !== undefined ? [] : payload.map((text) => line('', text))),
    ...[
      ...effect(item),
      ...grounds(item),
      ...standing(item, terminal.nowMs()),
      ...clock(item, terminal.nowMs()),
    ].flatMap(lines),
    ...lines(['job hash', item.job_hash]),
    ...lines(['policy', item.policy_snapshot]),
    ...lines(['trace', foldedText(item.trace_id, width)]),
    ...claims.flatMap(({ from, text }) =>
      lines(["agent's claim", `${from}: "${foldedText(text, claimCharactersMax)}"`]),
    ),
  ]
}

/** How far it reaches and who wants it. */
function effect({ job, constraints }: ApprovalItem): Fact[] {
  const named = (name: string, list: readonly string[] | undefined): string =>
    list === undefined ? `any ${name}` : `${name} ${list.length === 0 ? 'none' : list.join(' ')}`
  const reach = [
    job.capability === undefined ? undefined : `capability ${job.capability}`,
    job.requires === undefined || job.requires.length === 0 ? undefined : `needs ${job.requires.join(' ')}`,
    named('hosts', constraints?.allow_hosts),
    named('paths', constraints?.allow_paths),
  ]
  return [
    ['reach', reach.filter((part) => part !== undefined).join(', ')],
    ['asked by', `agent ${job.actor} of tenant ${job.tenant}`],
  ]
}

function grounds({ reason, rule_id, risk_tier, job, constraints }: ApprovalItem): Fact[] {
  const labels = Object.entries(job.labels ?? {}).filter(([key]) => !claimKeys.includes(key))
  return [
    ['why gated', `${reason} (rule ${rule_id})`],
    ['risk', [risk_tier, ...(job.risk_tags ?? [])].filter((part) => part !== undefined).join(', ')],
    ['labels', labels.map(([key, value]) => foldedText(`${key}=${value}`, claimCharactersMax)).join(', ')],
    ['limits', limitsText(constraints) ?? 'none but those of the gateway'],
  ]
}

/** The votes so far, what it takes in all, and how many more it takes of whom. */
function standing(item: ApprovalItem, nowMs: number): Fact[] {
  const { votes, demands, level, claim, resolution, resolved_at, lacks } = item
  const word = ({ by, decision, note }: ApprovalItem['votes'][number]): string =>
    `${by} ${decision === 'approve' ? 'approves' : 'rejects'}${note === '' ? '' : `: ${note}`}`
  const persons = level === 'critical' ? ', by two persons at least' : ''
  const waits = resolved_at === undefined
  return [
    ['votes', votes.map(word).join('; ')],
    ['takes', waits ? rulesText(demands) + persons : undefined],
    ['still takes', waits && votes.length > 0 && lacks !== undefined ? lackText(lacks) : undefined],
    ['on it', waits ? claimText(claim, nowMs) : undefined],
    ['resolved', resolution === undefined ? resolved_at : word(resolution)],
  ]
}

type Lacks = NonNullable<ApprovalItem['lacks']>

/** `2 of group ops (rule-a), and 1 of role admin (rule-b)`. */
function rulesText(rules: Lacks['rules']): string {
  return rules
    .map(({ rule, thresholds }) => `${thresholds.map(threshold).join(' or ')} (${rule})`)
    .join(', and ')
}

/** The rules may have enough votes, and level `critical` not enough persons. */
function lackText({ persons, rules }: Lacks): string {
  return rules.length === 0 ? `${persons} more, whoever it is` : rulesText(rules)
}

/** `2 of group ops`. */
function threshold({ from, approve }: Lacks['rules'][number]['thresholds'][number]): string {
  switch (from.kind) {
    case 'anyone':
      return `${approve} of all approvers`
    case 'persons':
      return `${approve} of ${from.names.join(', ')}`
    case 'groups':
    case 'roles':
      return `${approve} of ${from.kind === 'groups' ? 'group' : 'role'} ${from.names.join(' or ')}`
  }
}

function clock({ requested_at, expires_at, approve_from, resolved_at }: ApprovalItem, nowMs: number): Fact[] {
  const since = `${requested_at} (${durationText(nowMs - Date.parse(requested_at))} ago)`
  if (resolved_at !== undefined) return [['asked at', since]]
  const leftMs = Date.parse(expires_at) - nowMs
  const left = leftMs > 0 ? `in ${durationText(leftMs)}` : 'now'
  const early = approve_from !== undefined && Date.parse(approve_from) > nowMs
  return [
    ['asked at', since],
    [
      'not before',
      early ? `${approve_from} (in ${durationText(Date.parse(approve_from) - nowMs)})` : undefined,
    ],
    ['if nobody acts', `expires ${left} (${expires_at}) -> not run -> the agent is told`],
  ]
}

type Claim = { readonly key: string; readonly from: string; readonly text: string }

/** What the agent says for itself, in labels and at the top of its payload; `key` is the one in the payload. */
function claimsOf({ job }: ApprovalItem): Claim[] {
  const payload = typeof job.payload === 'object' && !Array.isArray(job.payload) ? job.payload : null
  const inside = Object.entries(payload ?? {}).flatMap(([key, text]) =>
    claimKeys.includes(key) && typeof text === 'string' ? [{ key, from: `payload ${key}`, text }] : [],
  )
  const labels = Object.entries(job.labels ?? {}).flatMap(([key, text]) =>
    claimKeys.includes(key) ? [{ key: '', from: `label ${visible(key)}`, text }] : [],
  )
  return [...inside, ...labels]
}
