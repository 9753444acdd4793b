import type { Opened } from '../../audit/event.ts'
import { evaluate, type Evaluation, type Facts } from '../../policy/evaluate.ts'
import type { Job } from '../../policy/job.ts'
import { noticeable } from '../../policy/severity.ts'
import type { Log } from '../log.ts'
import type { Policies } from './policies.ts'

/** Evaluates the candidate beside the policy in force. Whatever it says, and if it fails, nothing becomes of it but a record. */
export type Shadow = {
  compare(opened: Opened, job: Job, enforced: Evaluation, facts: Facts): void
  /** `12 of 340 decisions differ`, or empty without a candidate. */
  detail(): string
}

/** More differences than this in a second are only counted; the next record says how many there were. */
const recordsPerSecMax = 10

export function createShadow(policies: Policies, log: Log, nowMs: () => number): Shadow {
  let snapshot = ''
  let seen = 0
  let differing = 0
  let unrecorded = 0
  let second = 0
  let written = 0

  const record = (opened: Opened, enforced: Evaluation, shadow: Evaluation): void => {
    const now = Math.floor(nowMs() / 1_000)
    if (now !== second) [second, written] = [now, 0]
    if (written++ >= recordsPerSecMax) {
      unrecorded++
      return
    }
    const said = ({ decision: { type, rule_id, policy_snapshot } }: Evaluation): object => ({
      type,
      rule_id,
      policy_snapshot,
    })
    const data = {
      job_id: opened.job_id,
      tenant: opened.tenant,
      actor: opened.actor.id,
      topic: opened.topic,
      enforced: said(enforced),
      shadow: said(shadow),
      unrecorded_before: unrecorded,
    }
    unrecorded = 0
    policies
      .note('sluice.policy.shadow.v1', data)
      .catch((err: unknown) => log.warn({ err }, 'a difference of the shadow policy is not on record'))
  }
  return {
    compare: (opened, job, enforced, facts) => {
      const policy = policies.shadow()
      if (policy === undefined) return
      if (policy.snapshot !== snapshot) [snapshot, seen, differing, unrecorded] = [policy.snapshot, 0, 0, 0]
      seen++
      try {
        const shadow = evaluate(policy, job, facts)
        if (noticeable(shadow) === noticeable(enforced)) return
        differing++
        record(opened, enforced, shadow)
      } catch (err) {
        log.warn({ err }, 'the shadow policy could not be evaluated')
      }
    },
    detail: () => (policies.shadow() === undefined ? '' : `${differing} of ${seen} decisions differ`),
  }
}
