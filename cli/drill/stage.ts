import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

import type { JobTimeline } from '../../audit/fold.ts'
import type { Answer } from '../../audit/answer.ts'
import type { Credential } from '../dev/credentials.ts'
import { openApi, type Api } from './api.ts'
import { connectOutsider, type Outsider } from './outsider.ts'
import { Miss, must } from './report.ts'

/** Where a `sluice dev` is and who may talk to it: what the drill needs of ready.json. */
export type Place = {
  readonly nats_url: string
  readonly http_url: string
  /** Where its passwords and its workers' logs are. */
  readonly data_dir: string
  readonly credentials: readonly Credential[]
}

/** Everybody who plays a part, and what all of them do all the time. */
export type Stage = {
  readonly api: Api
  readonly agent: Outsider
  /** A worker of the core pool that works on nothing, so that whatever it answers is a lie. */
  readonly idler: Outsider
  /** The credential of the worker that runs the commands. */
  readonly runner: Outsider
  readonly approver: Outsider
  /** Another approver, who answers for the agent `bot` of another tenant. */
  readonly second: Outsider
  readonly bot: Outsider
  readonly auditor: Outsider
  /** All jobs of one drill share it. */
  readonly traceId: string
  /** Submits as the agent does, by request with a message id. */
  submit(topic: string, job: object): Promise<Answer>
  /** Approves as the approver does, by request, bound to what the agent was told. */
  approve(answer: Answer, note: string): Promise<Record<string, unknown>>
  /** A job of this drill as the audit stream tells it. */
  story(job: string): Promise<JobTimeline>
  close(): Promise<void>
}

export async function openStage(place: Place): Promise<Stage> {
  const connectAs = async (wanted: (credential: Credential) => boolean): Promise<Outsider> => {
    const credential = place.credentials.find(wanted)
    if (credential === undefined) throw new Error('ready.json lacks a credential that the drill needs')
    return connectOutsider(place.nats_url, credential)
  }
  const api = openApi(place.http_url)
  const agent = await connectAs(({ role, publish }) => role === 'agent' && publish === 'job.')
  const idler = await connectAs(({ actor }) => actor === 'helpdesk-2')
  const runner = await connectAs(({ role, stream }) => role === 'worker' && stream === 'WORK')
  const approver = await connectAs(({ actor }) => actor === 'demo-approver')
  const second = await connectAs(({ actor }) => actor === 'second-approver')
  const bot = await connectAs(({ actor }) => actor === 'billing-bot')
  const auditor = await connectAs(({ role }) => role === 'auditor')
  const traceId = `drill-${randomUUID()}`
  return {
    ...{ api, agent, bot, idler, runner, approver, second, auditor, traceId },
    submit: async (topic, job) => {
      const body = JSON.stringify({ ...job, trace_id: traceId })
      const answer = await agent.ask<Answer & { error?: { description: string } }>(topic, body, {
        'Nats-Msg-Id': randomUUID(),
      })
      if (answer.error !== undefined) throw new Miss(answer.error.description)
      return answer
    },
    approve: (answer, note) => {
      const { job_hash, decision } = answer
      const body = { decision: 'approve', note, job_hash, policy_snapshot: decision.policy_snapshot }
      return approver.ask(`approvals.resolve.${approver.name}.${answer.job_id}`, JSON.stringify(body))
    },
    story: async (job) => {
      const story = (await api.trace(traceId)).jobs.find(({ job_id }) => job_id === job)
      must(story !== undefined, `the trace does not know ${job}`)
      return story
    },
    close: async () => {
      await Promise.all(
        [agent, bot, idler, runner, approver, second, auditor].map((outsider) => outsider.close()),
      )
    },
  }
}

/** Where a job stands in AUDIT, as evidence. */
export function places(story: JobTimeline): string {
  return `AUDIT ${story.events.map(({ seq }) => seq).join(', ')}`
}

const refusalWithinMs = 10_000
const lookEveryMs = 50

/** The record beside the job's chain that says that this was refused, as evidence. */
export async function refusalOnRecord(stage: Stage, job: string, refuse: string): Promise<string> {
  const deadline = performance.now() + refusalWithinMs
  while (performance.now() < deadline) {
    const newest = await stage.auditor.newestRecord(`audit._refused.${job}`)
    const data =
      newest === undefined
        ? undefined
        : (JSON.parse(newest.body) as { data: { refuse: string; principal: string } }).data
    if (newest !== undefined && data?.refuse === refuse)
      return `AUDIT ${newest.sequence}: ${refuse} by ${data.principal}`
    await sleep(lookEveryMs)
  }
  throw new Miss(`no record says that this was refused as ${refuse}`)
}
